/* The requests themselves: prompts of a wanted length, and the JSON around them.
 *
 * A prompt is token ids, drawn at random: its length is exact on every server that takes ids for /v1/completions, which
 * edgelora, llama-server and vLLM do. For other servers it is words that are one token each in any common vocabulary.
 * The token count that the server reports for a first request shows how many tokens it adds. */
#ifndef EL_BENCH_LOAD_ASK_H
#define EL_BENCH_LOAD_ASK_H

#include "base/buf.h"
#include "bench/load/offers.h"
#include "bench/load/workload.h"

typedef struct el_load_ask {
  el_load_api api;
  bool words;         /* not ids */
  double added, each; /* of words: tokens of a prompt without any, and of each */
  int32_t *ids;       /* to draw from; NULL: from first to first + n_ids - 1 */
  int32_t first;
  size_t n_ids;
  uint64_t seed; /* of what the prompts say */
  float temperature, top_p;
  const char *base; /* the model's name for requests without adapter; NULL: none is sent */
  const el_load_names *names;
} el_load_ask;

/* The ids that stand for text: not those of special tokens. */
el_status el_load_ask_vocabulary(el_load_ask *a, const char *model_path, el_error *err);
void el_load_ask_free(el_load_ask *a);

/* The body of request `number`: the same for the same number and seed. false: no memory. */
bool el_load_ask_body(const el_load_ask *a, uint64_t number, const el_load_item *item, bool stream, el_buf *out);

#endif
