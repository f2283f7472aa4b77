/* A model for tests of the engine: it takes the place of src/model and of adapter packing at link time.
 *
 * What it gives for a row is a hash of the row's adapter and of all tokens before it, as it finds them in the row's KV
 * pages: so a token that is missing, stale or another sequence's shows in the output. With a window it also looks at
 * the row's windowed pages, as far as the window goes. It checks the contract of el_step_run at every step, and aborts
 * when it is broken. */
#ifndef EL_TESTS_FAKE_MODEL_H
#define EL_TESTS_FAKE_MODEL_H

#include <stdatomic.h>

#include "bytes.h"
#include "engine/engine.h"

/* The vocabulary: token i < 256 is byte i; then words. */
enum {
  FAKE_EOS = 256,  /* ends the generation, has no text */
  FAKE_WORD = 257, /* "hello" */
  FAKE_N_WORDS = 7,
  FAKE_VOCAB = FAKE_WORD + FAKE_N_WORDS,
  FAKE_CTX_TRAIN = 100,
  FAKE_EMBD = 32,
  FAKE_FINGERPRINT = 0x5eed,
  FAKE_INVOCATION = 4 /* tokens, at most, that activate an adapter */
};
extern const char *const fake_words[FAKE_N_WORDS];

/* Set before an engine is opened, or while the model is held. */
typedef struct fake_options {
  /* Sequences whose first token is t < 8 get scripts[t] as their answer: the logits at position p put its token p
   * first. Ends with -1, which is EOS. Other prompts get hashes. */
  const int *scripts[8];
  const char *chat_template; /* of the model's file; NULL: it has none */
  int nan_at;                /* rows of the base at this position get NaN; 0: none do */
  int window;                /* of the windowed layers of engines that are opened from now on; 0: they have none */
  int step_us;               /* a step takes this long */
  int pack_us;               /* and the packing of an adapter this long */
  atomic_bool pack_waits;    /* it ends when this is false; may be set at any time */
} fake_options;
extern fake_options fake;

/* A file for el_engine_open in a fresh directory. */
void fake_write_model(char dir[64], char path[128]);

/* Between these calls no step ends, and the engine can be given requests that the next step sees together. fake_hold
 * returns once a step that runs has ended. */
void fake_hold(void);
void fake_release(void);

/* What happened since the last call. */
typedef struct fake_counts {
  int steps, rows, logits, hidden, max_rows; /* max_rows: of one step */
  int heads, tails;                          /* of the rows */
  int max_adapters;                          /* of one step, the base is one */
} fake_counts;
fake_counts fake_take_counts(void);

/* Whether an adapter in the pool is as it was packed. */
bool fake_adapter_is_whole(const el_adapter *a);

#endif
