/* How a dialect writes answers: what reply.c keeps of an answer, and the functions that a dialect
 * provides.
 *
 * For a stream: begin; then for each choice begin_choice, delta for each piece that has become certain,
 * end_choice; when all have ended, end, or fail instead. For an answer in one piece: whole. Each function
 * appends to `out` and returns false when memory is short. */
#ifndef EL_SERVER_WRITER_H
#define EL_SERVER_WRITER_H

#include "server/answers/logprobs.h"
#include "server/answers/packed_event.h"
#include "server/answers/reply.h"
#include "server/requests/api.h"
#include "server/requests/request.h"

typedef enum el_piece_kind {
  EL_PIECE_CONTENT,
  EL_PIECE_REASONING,
  EL_PIECE_CALL,     /* a call of a tool begins: `text` is its name */
  EL_PIECE_ARGUMENTS /* more of its arguments, JSON text */
} el_piece_kind;

/* A piece of an answer, in the order in which the model generates it. */
typedef struct el_answer_piece {
  el_piece_kind kind;
  size_t call; /* which of the choice's calls; CALL, ARGUMENTS */
  const char *text;
  size_t len;
} el_answer_piece;

typedef struct el_call {
  char *name;
  char id[32];
  el_buf arguments;
} el_call;

typedef struct el_choice {
  const el_api_prompt *prompt;
  char *adapter; /* that the router chose; only in the first choice of each prompt; NULL: none */
  /* The answer so far, if it is sent in one piece, or if the writer sets `keep`. */
  el_buf content, reasoning;
  el_call *calls;
  size_t n_calls;

  double score;  /* mean log-probability of the prompt's tokens from scored_from on, if it is set */
  float *vector; /* [n_vector], if one was asked for */
  size_t n_vector;

  el_answer_parser *parser; /* NULL: the whole answer is text */
  size_t text_bytes;        /* of generated text so far */
  el_buf tokens;            /* ids (int32_t) that the writer has not written yet; with list_tokens */
  size_t n_told;            /* for the writer, as is has_new_line */
  bool has_new_line;
  el_logprobs logprobs;
  bool begun, done;
  bool not_invoked; /* the base answered in the place of an activated adapter, as its invocation was missing */
  el_finish finish;
  char *stop;             /* the stop string that ended it; NULL: none */
  int32_t stop_token;     /* the one of the request's stop_tokens that ended it; -1: none */
  el_buf prompt_logprobs; /* JSON of el_prompt_logprobs_write; empty: not asked for */
  int prompt_tokens, completion_tokens, cached_tokens, draft_tokens, draft_tokens_accepted;
  double queued_ms, prompt_ms, decode_ms; /* as in el_event_done */
} el_choice;

struct el_reply {
  const el_api_request *request;
  const el_writer *writer;
  char *id;
  int64_t created;
  char *model;
  const char *asked;
  bool limited;
  bool stream;
  el_buf chosen; /* the router's decision as members of a JSON object, until they are written; only if asked for */
  el_choice *choices;
  size_t n_choices, n_done;
  bool begun;
  bool failed;
  el_api_error error;
  void *state;    /* for the writer, freed by its free_state */
  el_buf scratch; /* for the writer */
};

struct el_writer {
  const char *stream_type;                 /* the Content-Type of a stream */
  bool keep;                               /* choices keep their text in a stream too */
  bool (*begin)(el_reply *r, el_buf *out); /* NULL: nothing is written; the same for the next two */
  bool (*begin_choice)(el_reply *r, el_choice *c, el_buf *out);
  /* With log-probabilities it is also called with an empty CONTENT piece, for tokens without text. */
  bool (*delta)(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *out);
  bool (*end_choice)(el_reply *r, el_choice *c, el_buf *out);
  bool (*end)(el_reply *r, el_buf *out);
  bool (*fail)(el_reply *r, const el_api_error *e, el_buf *out);
  bool (*whole)(el_reply *r, el_buf *out);
  void (*free_state)(void *state); /* NULL: there is no state */
};

/* The adapter that the router chose for a choice's prompt. NULL: none, or not yet. */
const char *el_choice_adapter(const el_reply *r, const el_choice *c);

/* Token counts: of all prompts; those of them that were in the prefix cache; of all choices. */
typedef struct el_usage {
  size_t prompt, cached, completion;
} el_usage;
el_usage el_reply_usage(const el_reply *r);

/* Writes `,"warnings":[...]` if an adapter was not invoked in this choice, or with c NULL in any choice;
 * otherwise nothing. */
bool el_reply_write_warnings(const el_reply *r, const el_choice *c, el_buf *out);

#endif
