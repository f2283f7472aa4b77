/* Derives how a template's models mark calls and reasoning, from what the template makes of known
 * messages. */
#ifndef EL_ANSWER_DERIVE_H
#define EL_ANSWER_DERIVE_H

#include "answer/form.h"

/* An assistant's turn: what is between its opening and its end, which all turns have. */
typedef struct el_turns {
  el_str call, calls; /* calls.data NULL: the template refuses two calls */
} el_turns;

/* False: it is in none of the known forms, or out of memory; what has been set of `f` must be freed
 * in any case. */
bool el_derive_calls(const el_turns *turns, el_form *f);
/* turn: with reasoning and a text. opening: what the generation prompt has beyond the opening of a
 * turn. */
bool el_derive_reasoning(el_str turn, el_str opening, el_form *f);

/* Where the common end of both begins, or where their common beginning ends; never in the middle of
 * a mark such as <tag> or [TAG]. */
size_t el_common_end(el_str a, el_str b);
size_t el_common_front(el_str a, el_str b);

/* Replaces a mark by a copy of `s`, without the white space around it. False: out of memory. */
bool el_set_mark(char **mark, el_str s);

#endif
