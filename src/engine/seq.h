/* A sequence: one request from el_submit to its DONE event. */
#ifndef EL_ENGINE_SEQ_H
#define EL_ENGINE_SEQ_H

#include <pthread.h>
#include <stdatomic.h>

#include "adapter/registry.h"
#include "constraint/store.h"
#include "engine/decision.h"
#include "engine/draft.h"
#include "engine/embedding.h"
#include "engine/mailbox.h"
#include "engine/stop.h"
#include "model/model.h"

/* Limits of a request. Finding stop strings costs their number times their length for each token. */

typedef struct el_seq el_seq;
struct el_seq {
  /* What was asked for; nobody changes it after el_submit. */
  uint64_t id;
  el_entry *adapter;                        /* NULL: base; a reference, the engine thread's */
  char adapter_name[EL_MAX_NAME_BYTES + 1]; /* "": base */
  el_sampling sampling;
  unsigned preset_fields; /* that the request leaves to the preset of whoever is chosen */
  uint64_t seed_offset;
  int n_prompt;
  uint64_t prefix_domain;
  int max_new; /* generated tokens that max_tokens and the context allow; 0: none are wanted */
  int min_new;
  int most_guessed; /* tokens at once, as of el_request.speculate */
  bool ignore_eos, include_stop, show_special, logprobs, wants_prompt_logprobs;
  bool is_reading; /* of an example, for the router */
  int n_top, n_prompt_top;
  el_event_fn on_event;
  void *user;
  uint64_t submitted_ns;
  uint64_t loading_ns, loaded_ns; /* when its adapter was first seen to be loaded, and to have been; 0: neither */
  el_logit_bias *bias;            /* the request's, then with min_new: n_ends bans of what must not end it yet */
  size_t n_ends;
  int32_t *allowed, *bad_words; /* of the sampling */
  int32_t *lists;               /* stop tokens, then shown ones, each ascending */
  size_t n_stop_tokens, n_shown;
  const char **stop_strings;          /* one block with the strings */
  const el_tokenizer *base_tokenizer; /* NULL: of a simulation */
  const el_tokenizer *tokenizer;      /* its adapter's, or the base's. Of a chosen adapter once it has started */
  el_decision
      *decision; /* of an adapter by the router; NULL: none was asked for, or nothing of it is needed any more */
  el_embedding *embedding;         /* NULL: text is wanted */
  const el_constraint *constraint; /* a reference; NULL: any text may be generated */

  /* The engine thread's. The keys and values of positions 0 .. n_computed - 1 are in the pages; what a step computes
   * are positions up to n_tokens - 1. The logits of the last one give the next token. */
  el_seq *next;         /* in a queue */
  struct el_flow *flow; /* whose turns it takes (turns.h); a reference. NULL: none yet, or it is done */
  el_seq *flow_next;    /* of those of it that wait */
  bool has_run;         /* it has had a slot */
  int32_t *tokens;      /* the prompt, then what was generated */
  int n_tokens, n_computed;
  int n_drawn;       /* tokens behind those, drawn out of this step's logits: whoever has a row of them. The client has
                      * not been told of them, so they do not count yet */
  int adapter_from;  /* the first position that its adapter computes, those before it are the base's: of an activated
                      * one;  else 0. EL_NOT_INVOKED: none is. Known once it has started */
  int n_chained;     /* leading pages that are in the prefix cache */
  int n_reached;     /* the most that n_computed has been: beyond it, what is not computed is another request's */
  int cached_tokens; /* of the prompt, that others had computed */
  uint32_t *pages, *windowed;       /* page tables */
  int n_pages;                      /* it has pages 0 .. n_pages - 1, */
  int windowed_begin, windowed_end; /* and these windowed ones */
  bool alone;                       /* it runs alone, with pages side by side: see scheduler.h */
  float *prompt_logprobs;           /* [n_prompt] with wants_prompt_logprobs */
  el_token_logprob *prompt_top;     /* [n_prompt, n_prompt_top] */
  int prompt_logprobs_from;         /* the first that is wanted */
  int n_prompt_logprobs;            /* of them are there */
  el_draft draft;
  el_stop stop;
  el_matcher matcher;            /* with a constraint, once it has started */
  uint64_t started_ns, first_ns; /* when it got a slot; when its first token came. 0: not yet */
  bool seen;                     /* admission has looked at it */
  int overtaken;                 /* requests whose turn was later that started while it waited */
  int slot;                      /* while it runs */
  bool stalled;                  /* has no room in the next step */

  /* What el_request_list shows: written by the engine thread. */
  struct {
    atomic_int phase, slot, n_computed, n_new, overtaken;
  } shown;

  /* Any thread, under the engine's mutex. */
  el_seq *table_next;
  atomic_bool cancelled; /* also read by the engine thread without it */
  el_mailbox box;
  pthread_cond_t changed; /* an event is there */
  int n_readers;          /* threads inside el_next_event */
  bool done, done_taken;
  bool dropped; /* out of the engine's table: the last reader frees it */
  el_event last;
  el_token_logprob last_top[EL_MAX_TOP_LOGPROBS];
  el_seq *kept_next;                   /* of those whose DONE event was taken */
  el_seq *untaken_prev, *untaken_next; /* of those that have one that was not */
};

typedef struct el_seq_limits {
  int n_vocab, ctx_size;
  const el_tokenizer *tokenizer;
  el_decision_limits decision;
  el_embedding_limits embedding;
} el_seq_limits;

/* Checks a request and copies it, but for its adapter. */
el_status el_seq_new(const el_request *r, const el_seq_limits *limits, el_seq **out, el_error *err);
/* What the request leaves open is as the preset (NULL: none) of who was chosen for it says, and else as it was asked.
 * No token has been generated. False: out of memory, and nothing has changed. */
/* schema: the constraint of its schema, or NULL; a reference that becomes the sequence's. */
bool el_seq_apply_preset(el_seq *s, const el_preset *p, const el_constraint *schema);
/* The adapter's reference must have been given back. */
void el_seq_free(el_seq *s);

/* Allocates all that the sequence needs to run up to its last token. speculates: it may guess what comes next. */
el_status el_seq_start(el_seq *s, bool speculates, el_error *err);
/* Frees what only a running sequence needs: events may still wait to be taken. */
void el_seq_end(el_seq *s);

/* It is about to start, and its adapter is in memory: from here on tokens are those of that one. EL_ERR_FORMAT: it has
 * none for some of them, as its files have become others. */
el_status el_seq_settle_tokens(el_seq *s, el_error *err);

/* Its adapter is still to be chosen. */
static inline bool el_seq_chooses(const el_seq *s) {
  return s->decision && !s->decision->made;
}

static inline int el_seq_n_new(const el_seq *s) {
  return s->n_tokens - s->n_prompt;
}

static inline int el_pages_for(int n_tokens) {
  return (n_tokens + EL_PAGE_TOKENS - 1) / EL_PAGE_TOKENS;
}

/* Pages for all its tokens, and for those that the router reads. */
static inline int el_seq_n_pages(const el_seq *s) {
  int n = el_seq_chooses(s) && s->decision->n > s->n_tokens ? s->decision->n : s->n_tokens;
  return el_pages_for(n);
}

/* Tokens that it may need pages for, with the adapter that it has now. */
static inline uint64_t el_seq_most_tokens(const el_seq *s) {
  if (!el_seq_chooses(s)) return (uint64_t)s->n_prompt + (uint64_t)s->max_new;
  return (uint64_t)(s->decision->n > s->n_prompt ? s->decision->n : s->n_prompt);
}

/* The logits of position `pos` give the log probability of the prompt's next token, which is not known yet. */
static inline bool el_seq_scores_prompt(const el_seq *s, int pos) {
  return s->wants_prompt_logprobs && pos + 1 < s->n_prompt && pos + 1 >= s->n_prompt_logprobs;
}

/* Whether this token ends the generation because the request says so. */
bool el_seq_stops_at(const el_seq *s, int32_t token);
/* Whether a control token's text is part of the answer's. */
bool el_seq_shows(const el_seq *s, int32_t token);

/* Tokens up to which the next one is drawn. */
static inline int el_seq_n_known(const el_seq *s) {
  return s->n_tokens + s->n_drawn;
}

/* What the next token is drawn with: before min_new of them, nothing that would end it. */
static inline el_sampling el_seq_sampling(const el_seq *s) {
  el_sampling p = s->sampling;
  if (el_seq_n_known(s) - s->n_prompt < s->min_new) p.n_logit_bias += s->n_ends;
  return p;
}

/* The hidden state of position `pos` is part of the vector that was asked for. */
static inline bool el_seq_pools(const el_seq *s, int pos) {
  return s->embedding && el_embedding_wants(s->embedding, pos);
}

/* A token is drawn from the logits of position `pos`. */
static inline bool el_seq_draws(const el_seq *s, int pos) {
  return s->max_new > 0 && pos == s->n_tokens - 1;
}

#endif
