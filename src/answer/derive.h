/* From what a template makes of known messages to how its models mark calls and reasoning. */
#ifndef EL_ANSWER_DERIVE_H
#define EL_ANSWER_DERIVE_H

#include "answer/form.h"

/* An assistant's turn: what stands between its opening and its end, which all turns have. */
typedef struct el_turns {
  el_str call, calls; /* calls.data NULL: the template refuses two */
} el_turns;

/* False: it is in none of the forms that are known, or out of memory; what has been set of `f` is to be freed all the
 * same. */
bool el_derive_calls(const el_turns *turns, el_form *f);
/* `turn`: with a thought and a text. `opening`: what the generation prompt has beyond a turn's opening. */
bool el_derive_reasoning(el_str turn, el_str opening, el_form *f);

/* Where what is the same at the end of both, or at their beginning, begins or ends; not in the middle of a mark such as
 * <tag>, [TAG]. */
size_t el_common_end(el_str a, el_str b);
size_t el_common_front(el_str a, el_str b);

/* Replaces a mark by a copy of `s`, without the white space around. False: no memory. */
bool el_set_mark(char **mark, el_str s);

#endif
