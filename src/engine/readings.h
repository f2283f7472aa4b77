/* Adapters that bring examples of what they are for: `auto` may choose them without the router having been trained with
 * them.
 *
 * An adapter's folder may hold examples.jsonl, lines with a "prompt" each, of which EL_MAX_EXAMPLES count, or
 * description.txt, a text that counts as one. Beside the file NAME.gguf these are NAME.examples.jsonl and
 * NAME.description.txt. The base reads each, in steps that it shares with requests, and what comes out is the adapter's
 * vectors. They are kept in the cache folder.
 *
 * An adapter that the router was trained with needs none: what was learnt from answers tells more.
 *
 * The registry reports what it lists and what not; el_readings_settle takes that over into the bank. A thread has the
 * vectors computed that are missing. */
#ifndef EL_ENGINE_READINGS_H
#define EL_ENGINE_READINGS_H

#include "base/error.h"

struct el_engine;
typedef struct el_readings el_readings;

/* For an engine with a router, whose thread runs. */
el_status el_readings_start(struct el_engine *e, const char *router_path, el_error *err);
/* Before the engine's thread ends. */
void el_readings_stop(struct el_engine *e);
void el_readings_free(el_readings *x);

/* Takes over what the registry has reported, so that what was added can be chosen if the router knows it or its vectors
 * are there. `again`: files of examples may have changed too. Nothing happens without a router. */
void el_readings_settle(struct el_engine *e, bool again);

#endif
