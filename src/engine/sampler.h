/* Chooses the next token from a row of logits. What is chosen depends on the row, the request's parameters and its own
 * tokens alone: the random number of token i is a function of (seed, i). */
#ifndef EL_ENGINE_SAMPLER_H
#define EL_ENGINE_SAMPLER_H

#include "base/error.h"
#include "engine/tuning.h"
#include "kernels/kernels.h"

/* Limits of a request's parameters; within them nothing overflows a float. */
#define EL_BANNED_BIAS -100.0f /* a bias of this or less bans the token */

/* Scratch memory, reused from call to call. One for each thread that samples. */
typedef struct el_sampler el_sampler;
el_status el_sampler_new(const el_kernels *k, int n_vocab, el_sampler **out, el_error *err);
void el_sampler_free(el_sampler *s);
/* The next calls are for rows of n_vocab logits, of as many as it was made for at most. */
void el_sampler_use(el_sampler *s, int n_vocab);

/* Checks everything that el_sampling says; the message names the field. */
el_status el_sampling_check(const el_sampling *p, int n_vocab, el_error *err);

/* logits: [n_vocab]. tokens: [n_tokens], the prompt's n_prompt first, then what was generated. Fails when a logit is
 * NaN or infinite, or when every token is banned. */
el_status el_sampler_pick(el_sampler *s, const float *logits, const el_sampling *p, const int32_t *tokens, int n_prompt,
                          int n_tokens, int32_t *token, el_error *err);

/* The same among those tokens whose bit is set (bit i % 64 of allowed[i / 64]); NULL: all. */
el_status el_sampler_pick_among(el_sampler *s, const float *logits, const uint64_t *allowed, const el_sampling *p,
                                const int32_t *tokens, int n_prompt, int n_tokens, int32_t *token, el_error *err);

/* The long passes over a row, for threads that share one: what they find is not computed again by the next
 * el_sampler_pick of that row, whose result is the same with and without. First el_sampler_look for all parts, then,
 * when that is done, el_sampler_weigh for all. */
static inline int el_row_parts(int n_vocab) {
  return (n_vocab + EL_ROW_PART - 1) / EL_ROW_PART;
}
/* Whether a draw is more than that by so much that it is worth it. */
bool el_sampler_is_long(const el_sampling *p);
/* Before the first part. logits stay as they are until the pick. */
void el_sampler_share(el_sampler *s, const float *logits, const el_sampling *p);
void el_sampler_look(el_sampler *s, int part);
void el_sampler_weigh(el_sampler *s, int part);

/* Memory for such bits, [(n_vocab + 63) / 64], which no call changes. */
uint64_t *el_sampler_mask(el_sampler *s);

/* The most likely token; -1: there is none, for el_sampler_pick to say why. */
int el_sampler_likeliest(el_sampler *s, const float *logits);
/* The log probability of a token, and the n_top most likely ones with theirs. Fails when a logit is NaN or infinite. */
el_status el_sampler_score(el_sampler *s, const float *logits, int32_t token, int n_top, float *logprob,
                           el_token_logprob *top, el_error *err);

/* Uniform in [0, 1). */
double el_random_unit(uint64_t seed, uint64_t index);

#endif
