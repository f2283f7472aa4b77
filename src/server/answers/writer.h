/* How a dialect writes answers: what reply.c keeps of one, and the functions that a dialect has for it.
 *
 * A stream: begin, then of each choice begin_choice, delta for each piece that has become certain, end_choice; when all
 * have ended, end; or fail. An answer in one piece: whole. Each appends to `out`, and returns false when out of memory.
 */
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

/* A piece of an answer. */
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
  char *adapter; /* that the router chose for the prompt; of each prompt's first choice; NULL: none */
  /* The answer so far: of one in one piece, or where the writer keeps it. */
  el_buf content, reasoning;
  el_call *calls;
  size_t n_calls;

  double score;  /* mean log-probability of the prompt's tokens from scored_from on, where prompts have one */
  float *vector; /* [n_vector], where one was asked for */
  size_t n_vector;

  el_answer_parser *parser; /* NULL: all of the answer is text */
  size_t text_bytes;        /* of the generated text so far */
  el_buf tokens;            /* ids (int32_t) that the writer has not told yet; with list_tokens */
  size_t n_told;            /* the writer's own, like the next */
  bool has_new_line;
  el_logprobs logprobs;
  bool begun, done;
  bool not_invoked; /* the base has answered in the place of an activated adapter */
  el_finish finish;
  char *stop;             /* the stop string that ended it; NULL: none did */
  int32_t stop_token;     /* of the request's stop_tokens, that ended it; -1: none did */
  el_buf prompt_logprobs; /* JSON, as el_prompt_logprobs_write has it; empty: none are wanted */
  int prompt_tokens, completion_tokens, cached_tokens, draft_tokens, draft_tokens_accepted;
  double queued_ms, prompt_ms, decode_ms; /* as in el_event */
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
  el_buf chosen; /* what the router said: members of a JSON object, until they are written; only if they are wanted */
  el_choice *choices;
  size_t n_choices, n_done;
  bool begun;
  bool failed;
  el_api_error error;
  void *state;    /* the writer's own, freed by its free_state */
  el_buf scratch; /* the writer's */
};

struct el_writer {
  const char *stream_type;                 /* of a stream: Content-Type */
  bool keep;                               /* choices keep their answers in a stream too */
  bool (*begin)(el_reply *r, el_buf *out); /* NULL: nothing; and so with the next two */
  bool (*begin_choice)(el_reply *r, el_choice *c, el_buf *out);
  /* With log-probabilities it is also called with an empty CONTENT part, where tokens have none of the text. */
  bool (*delta)(el_reply *r, el_choice *c, const el_answer_piece *piece, el_buf *out);
  bool (*end_choice)(el_reply *r, el_choice *c, el_buf *out);
  bool (*end)(el_reply *r, el_buf *out);
  bool (*fail)(el_reply *r, const el_api_error *e, el_buf *out);
  bool (*whole)(el_reply *r, el_buf *out);
  void (*free_state)(void *state); /* NULL: there is none */
};

/* The adapter that the router chose for a choice's prompt. NULL: none (yet). */
const char *el_choice_adapter(const el_reply *r, const el_choice *c);

/* Tokens of all prompts; of them, those that were there already; of all choices. */
typedef struct el_usage {
  size_t prompt, cached, completion;
} el_usage;
el_usage el_reply_usage(const el_reply *r);

/* `,"warnings":[...]`, where an adapter was not invoked: of this choice; NULL: of the first such one. Nothing else. */
bool el_reply_write_warnings(const el_reply *r, const el_choice *c, el_buf *out);

#endif
