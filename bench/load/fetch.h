/* One request at a time, for what is asked before and after a run. */
#ifndef EL_BENCH_LOAD_FETCH_H
#define EL_BENCH_LOAD_FETCH_H

#include "bench/load/client.h"

/* body: JSON to post; NULL: a GET. The answer's body is the caller's, to be released with el_buf_free. An answer that
 * did not come is in out->end and out->why, too; `err` only says what failed here. watched: a descriptor that cuts it
 * off when it is readable; -1: none. */
el_status el_load_fetch(const el_load_url *url, const char *path, const char *body, double seconds, int watched,
                        el_load_answer *out, el_error *err);
/* "http 404: why", "refused: Connection refused". */
void el_load_say(const el_load_answer *answer, char *out, size_t size);

#endif
