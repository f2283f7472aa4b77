/* edgelora: one base language model and many LoRA adapters, served together.
 *
 * This is the whole public interface; the command line and the server use nothing else.
 *
 * Threads: every function may be called from any thread unless it says otherwise. An el_engine owns one engine
 * thread that runs the model, and a pool of workers that compute inside a step. Event callbacks run on the
 * engine thread: they must be short, must not block, and must not call el_engine_close.
 *
 * Errors: a function that can fail returns el_status and, when `err` is not NULL, fills it with a message that a
 * person can act on, and says which part of it may be told to a tenant. EL_OK is 0. On failure output parameters are
 * left untouched.
 *
 * Ownership: `char *` and array results are the caller's, to be released with el_free. Strings that go in are copied.
 */
#ifndef EDGELORA_H
#define EDGELORA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EL_API __attribute__((visibility("default")))

typedef enum el_status {
  EL_OK = 0,
  EL_ERR_INVALID,     /* an argument or a request field is out of range; the caller's mistake */
  EL_ERR_IO,          /* the operating system refused: open, read, map, ... */
  EL_ERR_FORMAT,      /* a file is malformed: truncated, overlapping, lying about its size, ... */
  EL_ERR_UNSUPPORTED, /* well-formed, but a feature that edgelora does not have */
  EL_ERR_NO_MEMORY,   /* allocation failed, or a fixed pool is exhausted */
  EL_ERR_NOT_FOUND,   /* no such adapter or request */
  EL_ERR_EXISTS,      /* the name is taken */
  EL_ERR_BUSY,        /* the request queue is full; try again later */
  EL_ERR_TOO_LONG,    /* the prompt does not fit the context */
  EL_ERR_CLOSED,      /* the engine is shutting down */
  EL_ERR_CONFLICT,    /* it is not in the state that the caller expected; look again */
  EL_ERR_TOO_LARGE    /* an adapter takes more than the whole memory pool, and will as long as neither changes */
} el_status;

typedef struct el_error {
  el_status code;
  char message[1024]; /* for whoever runs the engine: it names the file or the adapter that it is about; always
                       * NUL-terminated */
  /* message + detail is what a tenant may be told: the same without the file's path, or the adapter's name. It may be
   * empty, then there is nothing that is known to name neither. */
  size_t detail;
  const char *field; /* of el_request, the one at fault, such as "candidates": static. NULL: none, or not known */
} el_error;

/* A short name for a status, such as "invalid" or "not_found". Never NULL. */
EL_API const char *el_status_name(el_status status);

/* The library's version, such as "0.1.0". */
EL_API const char *el_version(void);

/* Releases what a function of this header returned as the caller's. NULL is allowed. */
EL_API void el_free(void *p);

typedef enum el_log_level { EL_LOG_DEBUG, EL_LOG_INFO, EL_LOG_WARN, EL_LOG_ERROR } el_log_level;
/* Receives one line without a newline. May be called from any thread. */
typedef void (*el_log_fn)(void *user, el_log_level level, const char *line);

/* ------------------------------------------------------------------- limits */

/* What is beyond a limit is refused, and the message names the field and the limit. */

enum {
  /* el_engine_options */
  EL_MAX_THREADS = 1024,
  EL_MAX_SLOTS = 256,        /* of step_adapters too */
  EL_MAX_CTX_SIZE = 1 << 20, /* tokens */
  EL_MAX_STEP_ROWS = 4096,
  EL_MAX_QUEUE = 1 << 16,
  EL_MAX_SPECULATE = 15,      /* with the row that is computed anyway, 16 rows of a step */
  EL_MAX_ROUTER_MARGIN = 100, /* logits */

  /* adapters */
  EL_MAX_NAME_BYTES = 255, /* of a name or an alias */
  EL_MAX_RANK = 1024,      /* of each linear layer; of adapters that are applied together, the sum */
  EL_MAX_PINNED = 256,
  EL_MAX_COMBINED = 16, /* adapters that one request applies together */
  EL_MAX_SCALE = 1000,  /* magnitude of the scale of each */
  EL_MAX_EXAMPLES = 8,  /* that an adapter brings along */

  /* el_request */
  EL_MAX_CANDIDATES = 1024,
  EL_MAX_SCORES = 100, /* of router_top_k too */
  EL_MAX_STOPS = 64,
  EL_MAX_STOP_BYTES = 1024, /* of each stop string */
  EL_MAX_STOP_TOKENS = 256,
  EL_MAX_SHOWN_TOKENS = 256, /* of a constraint's too */
  EL_MAX_TOP_LOGPROBS = 20,  /* of prompt_top_logprobs too */
  EL_MAX_LOGIT_BIAS = 4096,  /* entries */
  EL_MAX_BAD_WORDS = 16384,  /* numbers, the -1 after each sequence included */
  EL_MAX_WEIGHT = 64,        /* a tenant's */
  EL_MAX_OVERTAKEN = 32,     /* requests of a later turn that may start before one that waits for its adapter */

  /* conversations and answers */
  EL_MAX_TEXT_BYTES = 1 << 30, /* that become tokens at once */
  EL_MAX_TOOLS = 1024,
  EL_MAX_TOOL_NAME = 128,            /* bytes */
  EL_MAX_CONSTRAINT_BYTES = 4 << 20, /* all texts of a constraint's source together */
  EL_MAX_CHOICES = 1 << 16,          /* texts that an answer is one of */
  EL_MAX_TAGS = 1024,                /* and so many triggers */

  /* training a router */
  EL_MIN_ROUTER_TOKENS = 16, /* of max_tokens in el_router_options */
  EL_MAX_ROUTER_TOKENS = 8192,
  EL_MAX_TABLE_COLUMNS = 1024, /* candidates, the base included */
  EL_MAX_TABLE_ROWS = 1 << 20,
  EL_MAX_TABLE_PROMPT = 1 << 20 /* bytes */
};
/* el_sampling: repeat_penalty is in [MIN, MAX], the other two penalties in [-MAX, MAX], a bias in [-MAX, MAX]. */
#define EL_MIN_REPEAT_PENALTY 1e-3f
#define EL_MAX_PENALTY 1e3f
#define EL_MAX_BIAS 1e6f

/* ---------------------------------------------------------------- tokenizer */

typedef struct el_tokenizer el_tokenizer; /* immutable once open: shared freely between threads */

/* Opens the tokenizer of a GGUF file; a vocabulary-only file is enough. */
EL_API el_status el_tokenizer_open(const char *gguf_path, el_tokenizer **out, el_error *err);
EL_API void el_tokenizer_close(el_tokenizer *t);
/* What the file says, or leaves out, that may make answers worse, such as a pre-tokenizer that is not known: a line for
 * whoever runs the model. NULL: nothing. Valid while the tokenizer is. */
EL_API const char *el_tokenizer_notice(const el_tokenizer *t);

enum {
  EL_TOKENIZE_BOS = 1, /* put BOS first if the model's file asks for it (add_bos_token), unless with SPECIAL the text
                        * begins with it */
  EL_TOKENIZE_SPECIAL = 2, /* text such as <|im_end|> becomes the special token; without it, it is plain text */
  EL_TOKENIZE_LOSSY = 4    /* bytes that the vocabulary has no token for are left out; without it, they are an error */
};
/* text: any bytes, `len` of them (NUL allowed; 1 GiB at most). *out gets *n token ids; free with el_free.
 * EL_ERR_INVALID: the vocabulary has no token for a byte of the text. Some models lack a few that UTF-8 text hardly
 * ever holds (SmolLM2: 0x04, 0x06, 0x13, 0x14, 0x16, 0x1d and 15 above 0x7f). */
EL_API el_status el_tokenize(const el_tokenizer *t, const char *text, size_t len, int flags, int32_t **out, size_t *n,
                             el_error *err);
/* As el_tokenize, for a text that is of use only if it is `most` tokens at most. EL_ERR_TOO_LONG: it is more, and the
 * message says how many at least; that costs no more than `most` tokens do, however long the text is. */
EL_API el_status el_tokenize_at_most(const el_tokenizer *t, const char *text, size_t len, int flags, size_t most,
                                     int32_t **out, size_t *n, el_error *err);
/* The exact bytes of the tokens, NUL-terminated for convenience. Special tokens are rendered only when `special`. The
 * text of el_tokenize comes back: where a tokenizer puts a space in front of a text (and of what follows a special
 * token), it is taken away again. */
EL_API el_status el_detokenize(const el_tokenizer *t, const int32_t *tokens, size_t n, bool special, char **out,
                               size_t *len, el_error *err);
/* The same for tokens that go on after token `before` (-1: none): texts of the parts of a sequence, each after the last
 * token of the part before, join to the text of the whole. */
EL_API el_status el_detokenize_after(const el_tokenizer *t, int32_t before, const int32_t *tokens, size_t n,
                                     bool special, char **out, size_t *len, el_error *err);
EL_API int32_t el_tokenizer_n_vocab(const el_tokenizer *t);
EL_API int32_t el_tokenizer_bos(const el_tokenizer *t); /* -1: the model has none */
EL_API int32_t el_tokenizer_eos(const el_tokenizer *t); /* -1: the model has none */
/* The tokens that stand around a gap which the model is to fill in: PREFIX, what is before it, SUFFIX, what is behind,
 * MIDDLE; some models have others for a repository's name and between files. */
typedef enum el_fim {
  EL_FIM_PREFIX,
  EL_FIM_SUFFIX,
  EL_FIM_MIDDLE,
  EL_FIM_PAD,
  EL_FIM_REPOSITORY,
  EL_FIM_SEPARATOR
} el_fim;
enum { EL_N_FIM = 6 };
/* As the file says, or as the tokens' texts tell. -1: the model has none. */
EL_API int32_t el_tokenizer_fim(const el_tokenizer *t, el_fim which);
/* Whether generation ends at this token (EOS, EOT and their like). */
EL_API bool el_tokenizer_is_eog(const el_tokenizer *t, int32_t token);

/* A value as JSON has it. Whoever fills one in owns what it points to. */
typedef enum el_value_type {
  EL_VALUE_NULL,
  EL_VALUE_BOOL,
  EL_VALUE_INTEGER,
  EL_VALUE_REAL,
  EL_VALUE_STRING,
  EL_VALUE_ARRAY,
  EL_VALUE_OBJECT
} el_value_type;
typedef struct el_value el_value;
typedef struct el_member el_member;
struct el_value {
  el_value_type type;
  union {
    bool boolean;
    int64_t integer;
    double real;
    struct {
      const char *data; /* UTF-8, NUL allowed */
      size_t len;
    } string;
    struct {
      const el_value *items;
      size_t n;
    } array;
    struct {
      const el_member *members;
      size_t n;
    } object;
  };
};
struct el_member {
  const char *name; /* UTF-8 */
  el_value value;
};

typedef struct el_message {
  const char *role;    /* "system", "user", "assistant", "tool" */
  const char *content; /* UTF-8 */
} el_message;
/* Whether the model's file has a chat template. Where it has none, conversations are written as ChatML. */
EL_API bool el_tokenizer_has_template(const el_tokenizer *t);
/* Renders a conversation with the model's own chat template, followed by the assistant's opening when
 * `add_generation_prompt`. Tokenize the result with EL_TOKENIZE_SPECIAL; a BOS is in it if the template writes one.
 * EL_ERR_INVALID: the template refuses the conversation, and the message says why. EL_ERR_UNSUPPORTED: it is no
 * template, or it comes to what edgelora has not. */
EL_API el_status el_chat_render(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                                char **out, el_error *err);
/* As el_chat_render, but straight to tokens: text inside message contents never becomes a control token, as with
 * el_tokenize without EL_TOKENIZE_SPECIAL. */
EL_API el_status el_chat_tokenize(const el_tokenizer *t, const el_message *messages, size_t n,
                                  bool add_generation_prompt, int32_t **out, size_t *n_out, el_error *err);
/* And the tokens [*begin, *end) that hold the content of the last message with role "user", for el_request.focus_begin;
 * both 0 when there is none. `most` as in el_tokenize_at_most; SIZE_MAX: no limit. */
EL_API el_status el_chat_tokenize_span(const el_tokenizer *t, const el_message *messages, size_t n,
                                       bool add_generation_prompt, size_t most, int32_t **out, size_t *n_out,
                                       size_t *begin, size_t *end, el_error *err);

/* A chat template other than the model's own: a Jinja text, as transformers runs it. Immutable, shared freely between
 * threads. EL_ERR_INVALID, EL_ERR_UNSUPPORTED: it cannot be used, and why. */
typedef struct el_chat_template el_chat_template;
EL_API el_status el_chat_template_open(const el_tokenizer *t, const char *source, el_chat_template **out,
                                       el_error *err);
EL_API void el_chat_template_close(el_chat_template *c); /* NULL is allowed */

/* A conversation with all that templates know. */
typedef struct el_chat {
  /* An array of objects, 1 at least, with "role" and whatever the template reads: "content" (a string, or an array of
   * {"type": "text", "text": ...}, joined by line ends for templates that take strings alone), "tool_calls",
   * "reasoning_content", "name", ... A null is as if it were not there. */
  const el_value *messages;
  const el_value *tools, *documents; /* arrays; NULL: none */
  /* Further variables, such as "enable_thinking"; they replace none of those above. */
  const el_member *variables;
  size_t n_variables;
  bool add_generation_prompt;
  bool continue_final_message; /* instead: the text ends with the last message's content, to go on with it */
  const el_chat_template *template_instead; /* NULL: the model's own */
} el_chat;
/* What el_chat_render and el_chat_tokenize_span do. */
EL_API el_status el_chat_text(const el_tokenizer *t, const el_chat *chat, char **out, size_t *len, el_error *err);
EL_API el_status el_chat_tokens(const el_tokenizer *t, const el_chat *chat, size_t most, int32_t **out, size_t *n_out,
                                size_t *begin, size_t *end, el_error *err);

/* ------------------------------------------------------------------ answers */

/* What a model writes has parts: text, what it thinks before it, and calls of tools, marked in a way that its chat
 * template teaches it. */

/* How a template's models mark them. Immutable, shared freely between threads. */
typedef struct el_answer_format el_answer_format;
/* Finds it out by rendering conversations with the template (NULL: the model's own), so it takes some milliseconds. A
 * template that writes no calls has the format of plain JSON: {"name": ..., "arguments": {...}}. */
EL_API el_status el_answer_format_open(const el_tokenizer *t, const el_chat_template *template_instead,
                                       el_answer_format **out, el_error *err);
EL_API void el_answer_format_close(el_answer_format *f); /* NULL is allowed */

typedef struct el_answer_info { /* valid while the format is open */
  const char *calls;            /* how they are written, for people: "json", "name and json", "parameters", ... */
  const char *call_begin;       /* what a call begins with, such as "<tool_call>"; "": nothing */
  bool shows_tools;             /* the template tells the model of the tools; if not, el_answer_instructions does */
  bool writes_calls;            /* and renders messages with "tool_calls", and those of role "tool" */
  bool takes_system;            /* it takes a message of role \"system\" */
  bool text_arguments;          /* it takes arguments as strings, as the API has them; others want objects */
  bool parallel;                /* it can write several calls in one message */
  const char *reasoning_begin, *reasoning_end; /* such as "<think>" and "</think>"; "": it marks none */
  const int32_t *shown_tokens;                 /* control tokens whose text the parser has to see */
  size_t n_shown_tokens;
} el_answer_info;
EL_API void el_answer_format_info(const el_answer_format *f, el_answer_info *out);

/* The tools of a request, read once. Immutable, shared freely between threads. */
typedef struct el_tools el_tools;
/* tools: an array of {"type": "function", "function": {"name", "description", "parameters", "strict"}}; names are
 * letters, digits, '_', '-', '.', 128 at most, none twice. EL_ERR_INVALID: what is wrong where. */
EL_API el_status el_tools_open(const el_value *tools, el_tools **out, el_error *err);
EL_API void el_tools_close(el_tools *t); /* NULL is allowed */
EL_API bool el_tools_have(const el_tools *t, const char *name);

/* Which calls an answer may, or must have. */
typedef struct el_call_rules {
  bool required;    /* one at least */
  const char *only; /* of this tool alone; NULL: of any */
  bool parallel;    /* more than one */
} el_call_rules;

/* What has to be said in the conversation (its system message) where the template does not show tools: which there are,
 * and how to call them. *out ends in NUL. */
EL_API el_status el_answer_instructions(const el_answer_format *f, const el_tools *t, const el_call_rules *rules,
                                        char **out, size_t *len, el_error *err);
/* A call as the format's models write it, to stand in a message's content where the template writes none. arguments:
 * the text of a JSON object. *out ends in NUL. */
EL_API el_status el_answer_call_text(const el_answer_format *f, const char *name, const char *arguments, size_t n,
                                     char **out, size_t *len, el_error *err);
/* What makes the model write calls as the rules and the tools' schemas say, for el_constraint_open: *out is one block,
 * to be freed with el_free; NULL: no constraint is needed, as nothing is required and no tool is strict. prompt: the
 * end of the rendered prompt, as in el_answer_options. Arguments that a model does not write as JSON have the form that
 * they must have, but not the schema's values. EL_ERR_INVALID: `only` is none of the tools. */
struct el_constraint_source;
EL_API el_status el_answer_constraint(const el_answer_format *f, const el_tools *t, const el_call_rules *rules,
                                      const char *prompt, size_t prompt_len, struct el_constraint_source **out,
                                      el_error *err);

typedef enum el_answer_part_type {
  EL_ANSWER_TEXT,
  EL_ANSWER_REASONING,
  EL_ANSWER_CALL,     /* one begins: `text` is the tool's name */
  EL_ANSWER_ARGUMENTS /* a piece of the JSON text of its arguments; the pieces of a call joined are an object */
} el_answer_part_type;
/* Valid during the call only; not NUL-terminated. */
typedef struct el_answer_part {
  el_answer_part_type type;
  const char *text; /* UTF-8, not empty */
  size_t len;
  size_t call; /* CALL, ARGUMENTS: its number in this answer, from 0 */
} el_answer_part;
typedef void (*el_answer_fn)(void *user, const el_answer_part *part);

typedef struct el_answer_options {
  const el_tools *tools; /* NULL: calls are text. It must stay open as long as the parser */
  const char *prompt;    /* the end of the rendered prompt, 256 bytes are enough: whether it has opened the reasoning */
  size_t prompt_len;
  bool keep_reasoning; /* it is part of the text, as the model writes it */
  bool whole_calls;    /* a call is given when all of it is there. Otherwise its arguments come as they are written, and
                        * what turns out not to be JSON in the end is text from there on */
} el_answer_options;

/* Reads one answer as it comes. What is not a call of one of the tools, or malformed, is text: nothing is dropped but
 * the marks and the white space around them. */
typedef struct el_answer_parser el_answer_parser;
EL_API el_status el_answer_parser_open(const el_answer_format *f, const el_answer_options *o, el_answer_parser **out,
                                       el_error *err);
EL_API void el_answer_parser_close(el_answer_parser *p); /* NULL is allowed */
/* Gives the parts that have become certain to `on_part`: the same, joined, however the text is cut. It takes time in
 * proportion to the text. EL_ERR_NO_MEMORY: the only error; the parser can only be closed then. */
EL_API el_status el_answer_parser_push(el_answer_parser *p, const char *text, size_t len, el_answer_fn on_part,
                                       void *user, el_error *err);
/* The answer has ended, with all that was pushed. */
EL_API el_status el_answer_parser_finish(el_answer_parser *p, el_answer_fn on_part, void *user, el_error *err);
/* Calls given so far. */
EL_API size_t el_answer_parser_calls(const el_answer_parser *p);

/* ----------------------------------------------------------------- sampling */

typedef struct el_logit_bias {
  int32_t token;
  float bias; /* added to the logit; -100 or less bans the token */
} el_logit_bias;

/* The order is: allowed tokens, bias, bad words, penalties, then (temperature > 0) top-k, top-p, min-p, temperature,
 * draw. */
typedef struct el_sampling {
  float temperature;       /* 0: greedy */
  int top_k;               /* 0: off */
  float top_p;             /* 1: off */
  float min_p;             /* 0: off */
  float repeat_penalty;    /* 1: off; divides positive logits of seen tokens, multiplies negative ones (CTRL, arXiv
                              1909.05858) */
  float frequency_penalty; /* 0: off; as OpenAI: times the count in the generated text */
  float presence_penalty;  /* 0: off; as OpenAI: once if present in the generated text */
  int repeat_last_n;       /* window of repeat_penalty in tokens, prompt included; -1: all; default 64 */
  uint64_t seed;           /* same seed, same text, whatever else runs */
  const el_logit_bias *logit_bias;
  size_t n_logit_bias;
  const int32_t *allowed_tokens; /* [n_allowed_tokens] nothing else is drawn; 0: whatever the rest says */
  size_t n_allowed_tokens;
  /* [n_bad_words] sequences of tokens, one after the other, each followed by -1: the last token of one is not drawn
   * where the others before it have just been generated. EL_MAX_BAD_WORDS numbers at most. */
  const int32_t *bad_words;
  size_t n_bad_words;
} el_sampling;

/* Greedy, no penalties. */
EL_API el_sampling el_sampling_default(void);

/* ------------------------------------------------------------------ presets */

/* What an adapter brings besides its weights, from edgelora.json in its folder, or NAME.json beside NAME.gguf: how it
 * wants to be asked. docs/adapters.md has the file's form. */

/* Fields of a request that a preset may set. */
enum {
  EL_PRESET_TEMPERATURE = 1 << 0,
  EL_PRESET_TOP_P = 1 << 1,
  EL_PRESET_TOP_K = 1 << 2,
  EL_PRESET_MIN_P = 1 << 3,
  EL_PRESET_REPETITION_PENALTY = 1 << 4,
  EL_PRESET_REPEAT_LAST_N = 1 << 5,
  EL_PRESET_FREQUENCY_PENALTY = 1 << 6,
  EL_PRESET_PRESENCE_PENALTY = 1 << 7,
  EL_PRESET_SEED = 1 << 8,
  EL_PRESET_MAX_TOKENS = 1 << 9,
  EL_PRESET_STOP = 1 << 10,
  EL_PRESET_SCHEMA = 1 << 11, /* as the request's constraint, unless it has one */
  EL_PRESET_ALL = (1 << 12) - 1
};

typedef struct el_preset {
  const char *description;    /* for people; NULL: none, and so with all texts */
  const char *system;         /* for conversations that have no system message; the caller's to put in front */
  const char *chat_template;  /* Jinja */
  const char *schema;         /* JSON schema of its answers, as text */
  const char *const *aliases; /* [n_aliases] other names that it wants */
  size_t n_aliases;
  float lora_scale; /* its product is multiplied by this when it is used alone; 1: as trained */
  unsigned set;     /* of the fields above: which of these it has */
  el_sampling sampling;
  int max_tokens;
  const char *const *stop; /* [n_stop] */
  size_t n_stop;
} el_preset;

/* Of `fields` (EL_PRESET_...), what the preset has of sampling goes into *s. */
EL_API void el_sampling_apply_preset(el_sampling *s, const el_preset *p, unsigned fields);

/* ------------------------------------------------------------------- engine */

typedef struct el_engine el_engine;

/* Load progress: `done` and `total` in bytes of the file's weights; done grows, and is total in the last call alone.
 * Called from the thread that opens the engine, several times for each megabyte that it packs. */
typedef void (*el_progress_fn)(void *user, uint64_t done, uint64_t total);

typedef struct el_engine_options {
  const char *model_path;         /* a GGUF file, any part of one, or a folder that holds one; required */
  const char *chat_template_path; /* a file with the chat template to use instead of the model's own; NULL: that */
  const char *model_name;         /* what requests call the base; NULL: the file's general.name, or its stem */
  const char *isa;                /* "scalar", "avx2", "avx512vnni", "amx_int8", ...; NULL: the best this CPU has */
  int n_threads;         /* threads that compute, engine thread included; 0: one per physical core, or per CPU of
                          * cpu_list */
  const char *cpu_list;  /* each of these threads stays on a CPU of its own: numbers and ranges, such as "0-3,8", or
                          * "auto", one CPU of each physical core; all must be CPUs that the process may use, and at
                          * least n_threads. NULL: the system places them, best where other programs run too */
  int n_slots;           /* sequences that run at once; default 32 */
  int ctx_size;          /* tokens a sequence may have, prompt and answer; 0: the model's own, as far as half
                          * of the memory holds it */
  int step_rows;         /* rows of one step, decode rows and prompt chunks together; default 128 */
  int step_adapters;     /* adapters that one step computes with, the base counted as one; the oldest sequence's always
                          * has its turn. 0: all. 1 is to compare with: sequences of other adapters wait */
  int max_queue;         /* requests that wait for a slot; default 1024; beyond it el_submit says EL_ERR_BUSY */
  const char *weights;   /* "keep": as precise as the file's types; "q8": 16- and 32-bit weights as int8; "f16": all
                          * weights as 16 bits, to compare with. NULL: "keep" */
  uint64_t memory_bytes; /* the pool that keys, values and adapters share; weights come on top. 0: whole
                          * contexts for 16 slots, or half of them if these are more, and 512 MiB; half of the memory
                          * that is available at most */
  const char *cache_policy; /* which adapters stay in memory: "frequency", "s3-fifo", "lru"; "none", to compare with: an
                             * adapter leaves when no request that runs or waits wants it. NULL: "frequency" */
  bool prefix_cache;        /* keep what was computed for the beginning of a request, for others with the same adapter
                             * and prefix_domain that begin alike; answers are the same with and without; default true */
  int speculate; /* tokens that an answer may guess ahead, from its own text and from what its adapter has answered in
                  * the same prefix_domain, for one step to check; answers are the same with and without. -1, the
                  * default: as many as have been worth their time; 0: none; 1 to EL_MAX_SPECULATE: always so many */
  bool prefault; /* take the pool's memory from the system at once and keep it, so that no step waits for the
                  * system to find and clear pages; false: as it is used, and given back when nobody has it */
  const char *cache_dir; /* a folder for what is learnt about adapter files, made when it is missing; safe to delete at
                          * any time, and to share between processes. NULL: none */
  const char *kv_type;   /* keys and values of earlier tokens: "f16"; "q8": 8-bit integers, half the memory, and faster
                          * with long contexts. NULL: "f16" */
  const char *adapter_type; /* adapters in memory: "q8": 8-bit integers; "q4": 4-bit integers, about half the memory,
                             * less exact; "f16": 16-bit floats, to compare with. NULL: "q8" */
  const char *preset_path;  /* the base's own preset, a file; without aliases and lora_scale. NULL: none */
  const char *router_path; /* for requests with EL_BY_ROUTER: a router for this model, as `edgelora router train` writes
                            * it. NULL: none, such requests are refused */
  int router_top_k;    /* of so many best-scored adapters one that is in memory is preferred; 0: as the router's file
                        * says */
  float router_margin; /* and only of those that are so close to the best, in logits (0.25 is 0.06 of a score in the
                        * middle, less towards 0 and 1), 100 at most; negative: as the file says */
  el_log_fn log;       /* NULL: silent */
  void *log_user;
  el_progress_fn progress; /* NULL: none */
  void *progress_user;
} el_engine_options;

/* Defaults for everything but model_path. */
EL_API el_engine_options el_engine_options_default(void);

/* What an engine with these options would have, by the headers of files alone. */
typedef struct el_engine_plan {
  char architecture[64];
  uint64_t weight_bytes; /* as they lie in the file; in memory they take about as much */
  uint64_t pool_bytes, block_bytes;
  int ctx_train, ctx_size; /* as of el_model_info */
  uint64_t context_bytes;  /* of the pool, that a whole context takes */
  uint64_t n_contexts;     /* that it holds beside one adapter */
  size_t n_adapters;       /* that would be offered, and */
  size_t n_refused;        /* those that would not: the log says why */
  size_t n_looked_at;      /* of n_adapters: whose size in memory is known */
  uint64_t adapter_bytes;  /* of the pool, that one of these takes on average; of rank 16, if there are none */
  uint64_t n_adapters_fit; /* of that size, beside one whole context */
} el_engine_plan;
/* Checks what el_engine_open would, el_adapter_add of `adapters` (paths) and el_adapter_add_dir of `dirs`, as far as
 * that takes no weights: options, the model's header, tokenizer and template. Of many adapters a folder's first ones
 * are read. */
EL_API el_status el_engine_plan_read(const el_engine_options *options, const char *const *adapters, size_t n_adapters,
                                     const char *const *dirs, size_t n_dirs, el_engine_plan *out, el_error *err);

/* Loads the model and starts the engine thread. Weights are read and repacked piece by piece;
 * afterwards the file is closed. A file that changes meanwhile is an error. */
EL_API el_status el_engine_open(const el_engine_options *options, el_engine **out, el_error *err);
/* Cancels what runs (each request gets its final event), stops the threads, frees all. NULL is allowed. */
EL_API void el_engine_close(el_engine *e);
/* How often the engine thread has come round. It is woken, so it comes round again, idle or not, as soon as the step
 * that it may be in has ended: a number that two calls find the same, with more than a step's time between, tells of an
 * engine that hangs. What it does when it is idle is not disturbed. */
EL_API uint64_t el_engine_turns(el_engine *e);

/* How the hidden states of a prompt's tokens, the last norm's output, become one vector. */
typedef enum el_embed {
  EL_EMBED_NONE,     /* no vector is wanted: text is. Of a model: its file says nothing */
  EL_EMBED_MEAN,     /* their mean */
  EL_EMBED_CLS,      /* the first token's */
  EL_EMBED_LAST,     /* the last token's */
  EL_EMBED_RANK,     /* of a model alone: it gives a score, not a vector. It can be asked for the others */
  EL_EMBED_AS_MODEL, /* of a request: as the model's file says (pooling_type), or else the mean */
} el_embed;

typedef struct el_model_info {
  const char *name; /* valid while the engine is open, like the other strings */
  const char *architecture;
  const char *isa;
  int speculate; /* as of el_engine_options */
  uint64_t n_params;
  uint64_t weight_bytes; /* resident size of the packed weights */
  uint64_t pool_bytes;   /* size of the pool of keys, values and adapters; touched as it is used, unless prefault */
  uint64_t kv_bytes;     /* what of it keys and values may have */
  uint64_t block_bytes;  /* of the pool */
  int n_vocab, n_layers, n_embd, n_heads, n_kv_heads, n_ff;
  el_embed pooling; /* what its file says about vectors of texts */
  int ctx_train;    /* context that the model was trained for, tokens */
  int ctx_size;     /* context of a sequence here, tokens */
  int n_slots, n_threads, step_rows;
} el_model_info;
EL_API void el_engine_info(const el_engine *e, el_model_info *out);
/* The engine's tokenizer; valid while the engine is open. */
EL_API const el_tokenizer *el_engine_tokenizer(const el_engine *e);

/* ----------------------------------------------------------------- adapters */

/* An adapter is registered by where its files are. Its weights are loaded into the pool when a request wants them, and
 * stay there until the room is wanted for something else; so thousands can be offered. */

/* Registers a folder of PEFT's (adapter_config.json + adapter_model.safetensors, or its parts with their index) or of
 * mlx-lm's (adapters.safetensors), or a GGUF LoRA file; docs/adapters.md says which exactly. It is read and checked
 * at once, so that what is wrong with it is said here. Requests name it by `name` (1 to 255 bytes, no control
 * characters, neither the base's name nor a registered one). */
EL_API el_status el_adapter_add(el_engine *e, const char *name, const char *path, el_error *err);

/* Of el_adapter_put and el_adapter_remove_expected: the generation (see el_adapter_info) is not looked at. */
#define EL_ANY_GENERATION UINT64_MAX
typedef struct el_adapter_put_options {
  bool in_place; /* an adapter that has the name gives it to these files: requests that it has finish with its own,
                  * later ones get these; nothing that was computed with the old ones is used again. When these
                  * cannot be used, it stays */
  uint64_t
      expected; /* that the adapter of this name has, 0: there is none, or EL_ANY_GENERATION; else EL_ERR_CONFLICT */
  bool pinned;  /* as el_adapter_pin; when it cannot be, nothing is added */
} el_adapter_put_options;
/* As el_adapter_add, which is this with options NULL: neither of both. *generation (may be NULL) is that of
 * what has been added. */
EL_API el_status el_adapter_put(el_engine *e, const char *name, const char *path, const el_adapter_put_options *options,
                                uint64_t *generation, el_error *err);
/* Registers every adapter in `dir`, without reading them: a sub-folder with adapter_config.json and weights is named
 * after the folder, a *.gguf file after its stem; a sub-folder without them is looked into, and what it has is named
 * "sub-folder/name"; a hub cache's models--ORG--NAME is its snapshot, named "ORG/NAME". One whose name cannot be used,
 * or is taken (the first one keeps it), and what looks like an adapter and is none, is logged, counted as failed, and
 * in el_adapter_list_refused. From then on the directory is watched: what is put there is offered, what is removed is
 * not, what has changed is loaded anew. *n_added and *n_failed may be NULL. */
EL_API el_status el_adapter_add_dir(el_engine *e, const char *dir, size_t *n_added, size_t *n_failed, el_error *err);
/* An adapter on all linear layers with random weights, for benchmarks. */
EL_API el_status el_adapter_add_random(el_engine *e, const char *name, int rank, uint64_t seed, el_error *err);
/* Takes no new requests for it; running ones finish, then its memory is released. An adapter that a directory still has
 * comes back with the next change in there. */
EL_API el_status el_adapter_remove(el_engine *e, const char *name, el_error *err);
/* The same if it has this generation, or with EL_ANY_GENERATION; EL_ERR_CONFLICT: it has another. */
EL_API el_status el_adapter_remove_expected(el_engine *e, const char *name, uint64_t expected, el_error *err);
/* Pinned, an adapter is loaded at once, as soon as there is room, and stays in memory whether requests want it or not;
 * what takes its place stays in its turn. Pins may not take all memory: EL_ERR_NO_MEMORY with the figures, when keys
 * and values of one sequence of ctx_size, beside an adapter, would not fit any more. It is read, to know its size. */
EL_API el_status el_adapter_pin(el_engine *e, const char *name, bool pinned, el_error *err);

/* Waits until the router knows the examples of all adapters (examples.jsonl in their folders), at most timeout_ms (-1:
 * forever). EL_ERR_BUSY: it does not yet. Without a router there is nothing to wait for. */
EL_API el_status el_router_wait(el_engine *e, int timeout_ms, el_error *err);

typedef struct el_rescan_result {
  size_t n_added, n_changed, n_removed, n_failed;
} el_rescan_result;
/* Looks through all directories of el_adapter_add_dir now, rather than when they report a change. *out may be NULL. */
EL_API el_status el_adapter_rescan(el_engine *e, el_rescan_result *out, el_error *err);

typedef enum el_adapter_state {
  EL_ADAPTER_ON_DISK,
  EL_ADAPTER_LOADING,
  EL_ADAPTER_RESIDENT,
  EL_ADAPTER_FAILED /* the last load did; the next request tries again */
} el_adapter_state;

typedef struct el_adapter_info {
  uint64_t id; /* from 0 on in order of registration; the same for as long as it is offered, never used again */
  const char *name;
  const char *path; /* "" for a random one */
  int rank;         /* the largest rank of its layers; 0: it has not been read yet */
  uint64_t bytes;   /* packed size in memory; 0: it has not been loaded yet */
  int64_t created;  /* seconds since the epoch when it was added */
  el_adapter_state state;
  uint64_t requests;   /* that have asked for it, or been given it by the router */
  bool in_router;      /* `auto` may choose it: the router was trained with it, or its examples have been read */
  uint64_t generation; /* of its files: it grows when others take their place, whatever the way, and no two files have
                        * the same while the engine is open, even where a name is removed and added again */
  /* Since it was added, of all generations: */
  uint64_t prompt_tokens, generated_tokens; /* of requests that have ended */
  uint64_t hits;                            /* requests that found it in memory */
  uint64_t loads, loads_failed;
  double load_ms;             /* that the last load that succeeded took; 0: none has */
  int64_t last_used;          /* seconds since the epoch when a request last began or ended; 0: none has */
  const char *failure;        /* why its last load that failed did, of these files; NULL: none has */
  const char *failure_detail; /* the end of that which a tenant may be told, as in el_error; may be empty */
  int64_t failed_at;          /* seconds since the epoch */
  bool pinned;
  const char *description;   /* its preset's; NULL: none */
  int activated;             /* 1: an activated one (aLoRA), which begins with its invocation; 0: another; -1: it has
                              * not been read yet */
  const int32_t *invocation; /* [n_invocation] its tokens */
  size_t n_invocation;
  int own_tokens;             /* tokens that it has beside the base's; -1: nobody has asked for it yet */
  const char *const *aliases; /* [n_aliases] other names by which requests get it */
  size_t n_aliases;
} el_adapter_info;
/* *out: array of *n, in order of registration, one block with its strings; free with el_free. */
EL_API el_status el_adapter_list(const el_engine *e, el_adapter_info **out, size_t *n, el_error *err);
/* The same of those alone that are in memory or being loaded. */
EL_API el_status el_adapter_list_resident(const el_engine *e, el_adapter_info **out, size_t *n, el_error *err);
/* One of them; free with el_free. EL_ERR_NOT_FOUND. */
EL_API el_status el_adapter_get(const el_engine *e, const char *name, el_adapter_info **out, el_error *err);
EL_API el_status el_adapter_get_by_id(const el_engine *e, uint64_t id, el_adapter_info **out, el_error *err);
/* The prompts that it brings along as examples, EL_MAX_EXAMPLES at most, in the order of its examples.jsonl; its files
 * are read by this call. *out: array of *n, one block with its strings; free with el_free. None is no error.
 * EL_ERR_NOT_FOUND; EL_ERR_FORMAT: the file is wrong, and where. */
EL_API el_status el_adapter_examples(const el_engine *e, const char *name, char ***out, size_t *n, el_error *err);

/* What a directory holds that cannot be offered. */
typedef struct el_adapter_refusal {
  const char *name; /* that it would have */
  const char *path, *reason;
  const char *detail; /* the end of reason which a tenant may be told, as in el_error; may be empty */
} el_adapter_refusal;
/* *out: array of *n, one block with its strings; free with el_free. */
EL_API el_status el_adapter_list_refused(const el_engine *e, el_adapter_refusal **out, size_t *n, el_error *err);

/* Names and aliases: an adapter is found by its name, by id, and by the aliases of its preset. A name comes before
 * every alias; of two adapters that want one alias the one that was registered first has it, and the log tells of the
 * other. */

/* An adapter as it is now, kept for a request: what its preset says and the weights that answer are of one time,
 * whatever happens to its files in between. */
typedef struct el_held_adapter {
  const char *name;                      /* its own, where an alias was asked for; the base's, too */
  uint64_t generation;                   /* 0: the base */
  const el_preset *preset;               /* NULL: it has none */
  const el_chat_template *chat_template; /* of the preset; NULL: the tokenizer's own */
  const el_tokenizer *tokenizer; /* the engine's, or that of an adapter that was trained with tokens, and perhaps with a
                                  * chat template, of its own: for all that becomes tokens of a request to it, and for
                                  * all text of its tokens. As long as it is held */
} el_held_adapter;
/* By name or alias; the base by its name. To be released. EL_ERR_NOT_FOUND; EL_ERR_FORMAT: its preset is wrong, or what
 * it says of tokens. */
EL_API el_status el_adapter_hold(el_engine *e, const char *name, const el_held_adapter **out, el_error *err);
EL_API void el_adapter_release(el_engine *e, const el_held_adapter *held); /* NULL is allowed */

/* -------------------------------------------------------------- constraints */

/* What an answer's text must be. Compiled once: the engine keeps what was compiled by its source, so opening the same
 * one again costs next to nothing. Immutable, shared freely between threads and requests. */
typedef struct el_constraint el_constraint;

typedef enum el_constraint_type {
  EL_CONSTRAINT_JSON_OBJECT, /* any JSON object */
  EL_CONSTRAINT_JSON_SCHEMA, /* text: a JSON Schema, drafts 7 to 2020-12 */
  EL_CONSTRAINT_REGEX,       /* text: a regular expression that the whole answer matches */
  EL_CONSTRAINT_GRAMMAR,     /* text: GBNF, as llama.cpp has it, with a rule `root` */
  EL_CONSTRAINT_CHOICE,      /* one of `choices` */
  EL_CONSTRAINT_TAGS         /* free text, and in it `tags`: see there */
} el_constraint_type;

/* What follows a trigger: `begin`, then what `content` allows, then `end`. */
typedef struct el_constraint_tag {
  const char *begin;          /* begins with one of the triggers, if there are any */
  const char *end;            /* may be empty */
  el_constraint_type content; /* any but TAGS and CHOICE */
  const char *text;           /* as of el_constraint_source */
  size_t len;
} el_constraint_tag;

typedef struct el_constraint_source {
  el_constraint_type type;
  const char *text; /* [len] UTF-8: JSON_SCHEMA, REGEX, GRAMMAR */
  size_t len;
  const char *const *choices; /* [n_choices] none empty */
  size_t n_choices;
  /* TAGS: text is free until one of the triggers occurs; then it is one of the tags that begin with it, and after that
   * free again. n_triggers 0: nothing is free, the answer is tags alone. */
  const el_constraint_tag *tags;
  size_t n_tags;
  const char *const *triggers;
  size_t n_triggers;
  bool at_least_one;     /* the answer cannot end before a tag has */
  bool stop_after_first; /* it ends with the first tag */
  /* Control tokens that are text to the constraint: the request has them in its shown tokens. All others end the
   * answer, where it may end, or are never allowed. */
  const int32_t *shown_tokens;
  size_t n_shown_tokens;
} el_constraint_source;

/* EL_ERR_INVALID: the source is wrong, and where. EL_ERR_UNSUPPORTED: it uses what edgelora has not, by name.
 * EL_ERR_TOO_LONG: it is too large. */
EL_API el_status el_constraint_open(el_engine *e, const el_constraint_source *source, const el_constraint **out,
                                    el_error *err);
/* A request keeps what it was submitted with for itself. */
EL_API void el_constraint_close(el_engine *e, const el_constraint *constraint); /* NULL is allowed */

/* ----------------------------------------------------------------- requests */

typedef enum el_finish {
  EL_FINISH_STOP,      /* end-of-generation token, stop token or stop string */
  EL_FINISH_LENGTH,    /* max_tokens or the context is used up */
  EL_FINISH_CANCELLED, /* el_cancel, or the engine is closing */
  EL_FINISH_ERROR      /* see `error` */
} el_finish;

typedef struct el_token_logprob {
  int32_t token;
  float logprob; /* natural logarithm, from the model's own distribution before penalties and temperature */
} el_token_logprob;

/* What the router expects of an adapter for a prompt. */
typedef struct el_candidate {
  const char *name;
  float score;   /* the expected score of its answer, 0 to 1 */
  bool resident; /* in memory or being loaded; the base always is */
} el_candidate;

typedef enum el_event_type {
  EL_EVENT_DECISION,  /* the adapter that the router decided for; once, before all others, when the request starts with
                       * it; only with EL_BY_ROUTER. One that cannot be loaded, or is too large, gives way to the next
                       * before */
  EL_EVENT_PROMPT,    /* prompt log-probabilities; once, before the first token; only with `prompt_logprobs` */
  EL_EVENT_EMBEDDING, /* the vector; once; only with `embed` */
  EL_EVENT_TOKEN,     /* one generated token */
  EL_EVENT_DONE       /* the last event of every request; sent exactly once */
} el_event_type;

typedef struct el_event_decision {
  const char *adapter;            /* its name; the base's when that was chosen */
  const el_candidate *candidates; /* the n_scores best of those that can be used, best first; the chosen one is among
                                   * the first router_top_k */
  size_t n_candidates;
  double ms; /* from the slot to the decision */
} el_event_decision;

typedef struct el_event_prompt {
  const float *logprobs; /* [n] log p(token i | tokens before i); [0] is 0 */
  size_t n;
  const el_token_logprob *top; /* [n, n_top] the most likely tokens in the place of each, best first; nothing at [0] */
  size_t n_top;
} el_event_prompt;

typedef struct el_event_embedding {
  const float *values; /* [n] finite, not normalised */
  size_t n;            /* el_model_info.n_embd */
} el_event_embedding;

typedef struct el_event_token {
  int32_t id;
  float logprob;               /* with `logprobs` */
  const el_token_logprob *top; /* with `logprobs`: the n_top most likely, best first */
  size_t n_top;
} el_event_token;

typedef struct el_event_done {
  el_event_token token; /* that ended the generation (EOS, or one of stop_tokens), which is no TOKEN event; id -1: none
                         * did */
  el_finish finish;
  el_error error;      /* with EL_FINISH_ERROR */
  const char *adapter; /* with EL_FINISH_ERROR and EL_BY_ROUTER: the adapter that was chosen last and could not be used;
                        * else NULL */
  const char *stop;    /* the stop string that matched, or NULL */
  bool stop_token;     /* `token` is one of stop_tokens */
  int prompt_tokens, completion_tokens;
  int cached_tokens; /* of prompt_tokens: not computed, as another request had computed them */
  int base_tokens;   /* of prompt_tokens: computed by the base, as the adapter is an activated one (aLoRA), which begins
                      * with its invocation. 0: any other */
  bool not_invoked;  /* its invocation is not in the prompt: the base has answered */
  int draft_tokens, draft_tokens_accepted; /* as of el_stats */
  double queued_ms, prompt_ms, decode_ms;  /* waiting for a slot; to the first token; from the first token to the end */
  double load_ms;                          /* of queued_ms: its adapter was being loaded. 0: it was in memory */
} el_event_done;

typedef struct el_event {
  el_event_type type;
  uint64_t request; /* id from el_submit */
  void *user;       /* the request's */

  /* Text that became certain with this event: whole UTF-8 characters, nothing of a stop string. May be empty, and is
   * with all but TOKEN and DONE. Concatenated, this is the completion. Not NUL-terminated. */
  const char *text;
  size_t text_len;

  union { /* by type */
    el_event_decision decision;
    el_event_prompt prompt;
    el_event_embedding embedding;
    el_event_token token;
    el_event_done done;
  };
} el_event;
/* Everything the event points to is valid during the call only. */
typedef void (*el_event_fn)(const el_event *event);

/* One of several adapters that are applied together, each times its scale: W' = W + sum of scale * B * A. */
typedef struct el_adapter_scale {
  const char *adapter;
  float scale; /* finite, EL_MAX_SCALE in magnitude at most; 0: as if it were not there */
} el_adapter_scale;

/* Who answers a request: one of four ways. */
typedef enum el_adapter_by {
  EL_BY_NAME,   /* an adapter by its name or alias, or the base */
  EL_BY_HOLD,   /* one that el_adapter_hold gave, as it was then */
  EL_BY_SCALES, /* several adapters together */
  EL_BY_ROUTER  /* whom the router decides for */
} el_adapter_by;

typedef struct el_adapter_selection {
  el_adapter_by by;
  union {
    const char *name;            /* NAME. NULL, "" or the base's name: the base */
    const el_held_adapter *held; /* HOLD. It need not be held longer than el_submit takes */
    /* SCALES: EL_MAX_COMBINED at most, none twice. What they amount to is loaded as one adapter, and kept as one: its
     * ranks are theirs added up, 1024 at most for each linear layer. */
    struct {
      const el_adapter_scale *list; /* [n] */
      size_t n;                     /* 0: the base alone */
    } scales;
    /* ROUTER: among all adapters and the base, or among those that `candidates` allows: names, the base's included, or
     * patterns that end in an asterisk ("tenant/" and one). A name that is not there is no error, as long as something
     * is. */
    struct {
      const char *const *candidates; /* [n_candidates], EL_MAX_CANDIDATES at most; 0: all */
      size_t n_candidates;
      int n_scores;     /* candidates that the DECISION event lists, EL_MAX_SCORES at most; 0: none */
      bool only_decide; /* the request ends after the DECISION event, with EL_FINISH_LENGTH */
    } router;
  };
} el_adapter_selection;

typedef struct el_request {
  el_adapter_selection adapter;
  /* Fields that the request leaves to the preset of whoever answers, of EL_PRESET_...: where that has one, it counts,
   * else what is said here. With EL_BY_ROUTER it is the chosen one's, whose max_tokens can but lower what is said
   * here; with EL_BY_SCALES the base's. */
  unsigned preset_fields;
  uint64_t seed_offset;  /* added to the seed, whoever gives it: of several answers to a prompt each has its own */
  const int32_t *prompt; /* token ids, 1 at least */
  size_t n_prompt;
  size_t focus_begin, focus_end; /* the tokens of the prompt that say what is wanted, such as the last message of the
                                  * user: what the router reads; focus_end 0: all of them */
  int max_tokens;                /* generated tokens; 0: only the prompt is computed; -1: until the context is full */
  el_sampling sampling;
  const char *const *stop; /* stop strings, not part of the text */
  size_t n_stop;
  const int32_t *stop_tokens; /* [n_stop_tokens] generation ends at these as at EOS, with ignore_eos too */
  size_t n_stop_tokens;
  bool include_stop; /* the stop string that ended the text is part of it, and so is a stop token's text */
  int min_tokens;    /* generated before EOS and stop_tokens may come; stop strings count in what comes after them */
  bool ignore_eos;
  /* Control tokens are no part of the text, but for these, and for all of them with show_special. */
  const int32_t *shown_tokens; /* [n_shown_tokens], EL_MAX_SHOWN_TOKENS at most */
  size_t n_shown_tokens;
  bool show_special;
  bool logprobs;
  int top_logprobs; /* 0 to 20 alternatives a token */
  bool prompt_logprobs;
  size_t prompt_logprobs_from; /* of the tokens from this one on; those before are told as 0, and cost no logits */
  int prompt_top_logprobs;     /* with prompt_logprobs: 0 to 20 alternatives for each of the prompt's tokens */
  /* Instead of text, a vector of the prompt, EL_EVENT_EMBEDDING; it ends with EL_FINISH_LENGTH then. max_tokens,
   * sampling and stop strings do not count. Whoever shares the steps, it is the same bits. Not with EL_BY_ROUTER, nor
   * with log-probabilities. With the mean, what other requests have computed is of no use to it, but for others what it
   * has computed is. */
  el_embed embed;
  /* Whose prefixes it may find in the prefix cache, and who may find its own: those with the same number. Requests of
   * different tenants get different ones, or a tenant could tell by cached_tokens, or by the time to the first token,
   * what another has asked. Default 0: all that say nothing share theirs. */
  uint64_t prefix_domain;
  /* Whose turn it is: requests of one tenant start in order of arrival, those of several take turns, by the rows that
   * each has had, divided by its weight: 1 to EL_MAX_WEIGHT; 0: EL_WEIGHT_NORMAL; what the last request of a tenant
   * says counts for all of them. The first waiting request of a tenant that has not had more than its share is behind
   * one request of each other tenant at most. Default 0: all that say nothing are one tenant. */
  uint64_t tenant;
  int weight;
  int speculate; /* tokens that its answer may guess ahead at most; -1, the default: as the engine's options say; 0:
                  * none. Its answer is the same */
  /* The answer's text is what this allows: tokens that would lead out of it are not drawn, and the answer ends when it
   * is complete (EL_FINISH_STOP). Where no token goes on, it ends with EL_FINISH_ERROR. NULL: any text. */
  const el_constraint *constraint;
  el_event_fn on_event; /* NULL: events queue up and are taken with el_next_event */
  void *user;
} el_request;

/* A base request without prompt: greedy, max_tokens -1. */
EL_API el_request el_request_default(void);

/* Queues a request; *id is unique in this engine. Everything it points to is copied. Errors that the request alone
 * decides (unknown adapter, prompt too long, a parameter out of range) are returned here, not as an event. One whose
 * adapter cannot be loaded ends with EL_FINISH_ERROR and the reason.
 *
 * Requests of a tenant start in order of arrival, and tenants take turns, except that while one waits for its adapter,
 * others whose adapters are in memory may go first: EL_MAX_OVERTAKEN of those whose turn is later at most. EL_ERR_BUSY:
 * n_slots and max_queue requests are there; a tenant that has fewer than n_slots of them may have that many all the
 * same, until there are twice as many in all; and its first one is always taken. */
enum { EL_WEIGHT_LOW = 1, EL_WEIGHT_NORMAL = 4, EL_WEIGHT_HIGH = 16 };
EL_API el_status el_submit(el_engine *e, const el_request *request, uint64_t *id, el_error *err);
/* Ends a request at whatever state it is in; its DONE event follows. A finished or unknown id is no error. */
EL_API void el_cancel(el_engine *e, uint64_t id);
/* For requests without on_event: the next event; waits up to timeout_ms (-1: forever). *out and what it points to are
 * valid until the next call for this id; after DONE, also no longer than until 256 other requests have been taken to
 * their DONE, or the engine closes. Events that nobody takes are kept, those of a request's max_tokens at most; of
 * requests that have ended so, n_slots + max_queue are kept, and the oldest is forgotten. In a callback it does not
 * wait. EL_ERR_BUSY: none in time. EL_ERR_NOT_FOUND: no such request, or its DONE event has been taken already. */
EL_API el_status el_next_event(el_engine *e, uint64_t id, int timeout_ms, el_event *out);

typedef enum el_phase {
  EL_PHASE_QUEUED,
  EL_PHASE_DECISION, /* the router reads the prompt */
  EL_PHASE_LOADING,
  EL_PHASE_PROMPT,
  EL_PHASE_GENERATION
} el_phase;

typedef struct el_request_info {
  uint64_t id;
  const char *adapter; /* "": the base */
  el_phase phase;
  int slot;                           /* 0 to n_slots - 1, its own while it runs; -1: it waits */
  int prompt_tokens, computed_tokens; /* of the prompt and of what was generated */
  int generated_tokens, max_tokens;
  int overtaken; /* requests whose turn was later that have started before it */
  double age_ms; /* since el_submit */
} el_request_info;
/* The requests that wait or run, in order of id: *out: array of *n, one block with its strings; free with el_free. */
EL_API el_status el_request_list(const el_engine *e, el_request_info **out, size_t *n, el_error *err);

enum { EL_LOAD_BUCKETS = 11 };
/* Upper limits of the buckets of el_stats.load_histogram in milliseconds, but for the last, which has none. */
EL_API const double *el_load_bucket_ms(void);

typedef struct el_stats {
  uint64_t steps; /* forward passes */
  uint64_t rows;  /* rows of all steps */
  uint64_t prompt_tokens, generated_tokens;
  uint64_t requests_submitted, requests_done, requests_cancelled, requests_failed;
  uint64_t requests_not_invoked; /* of the done ones: answered by the base, as the adapter's invocation was not there */
  int slots_busy, queued;        /* now */
  uint64_t kv_pages, kv_pages_used; /* that there may be; that sequences have */
  uint64_t kv_pages_cached; /* that no sequence has, kept for those to come: they are given up when room is wanted */
  uint64_t cached_tokens;   /* tokens that were not computed, as the prefix cache had them */
  int page_tokens;          /* tokens of one KV page */
  double step_seconds;      /* time inside forward passes */
  uint64_t preemptions;     /* a sequence gave up its pages for an older one */
  uint64_t draft_tokens, draft_tokens_accepted; /* that were guessed ahead and computed; of them, that came */

  /* Pages of layers that see a window alone, where a model has such beside others: kv_pages_used and kv_pages_cached
   * are then the others', and kv_pages is what one long sequence may have of those. */
  uint64_t kv_windowed_used, kv_windowed_cached;

  uint64_t decisions;          /* requests that the router chose an adapter for */
  uint64_t decisions_base;     /* of them: the base */
  uint64_t decisions_resident; /* of them: another than the best, as it was in memory */
  uint64_t decision_tokens;    /* that the router has read */
  double decision_seconds;     /* from the slot to the decision, summed up */
  uint64_t adapters_in_router; /* now */

  uint64_t adapters, adapters_resident;                     /* now: offered; in memory */
  uint64_t adapter_hits, adapter_misses, adapter_evictions; /* hit: the adapter was in memory when its request was first
                                                             * looked at */
  uint64_t adapter_loads, adapter_loads_failed;             /* several misses may share one load */
  double load_seconds;
  uint64_t load_histogram[EL_LOAD_BUCKETS];                   /* of the loads that succeeded, by time */
  uint64_t pool_blocks, pool_blocks_kv, pool_blocks_adapters; /* adapters': with those of loads under way */
  uint64_t pool_blocks_idle;                                  /* of the adapters': used by no running request */
} el_stats;
EL_API void el_engine_stats(const el_engine *e, el_stats *out);

/* ------------------------------------------------------------------- router */

/* A router learns from a table how well each adapter, and the base, answers a prompt, and decides for requests with
 * EL_BY_ROUTER. The table is CSV with the columns `prompt`, `task` (optional) and `score_NAME` for each candidate (0 to
 * 1; score_base is the base), or JSONL with the same as {"prompt": ..., "task": ..., "scores": {NAME: ...}}. */

/* Receives text; returns false to stop. */
typedef bool (*el_write_fn)(void *user, const char *data, size_t len);
/* What is done (such as "reading prompts"), and how much of it. */
typedef void (*el_router_progress_fn)(void *user, const char *what, size_t done, size_t total);

typedef struct el_router_options {
  const char *model_path;  /* the base, as in el_engine_options; required */
  const char *router_path; /* to write, or to read; required */
  const char *table_path;  /* to learn from, or to evaluate on; required */
  const char *isa;         /* as of el_engine_options */
  int n_threads;
  el_router_progress_fn progress; /* NULL: none */
  void *progress_user;
  /* el_router_eval */
  bool json;                 /* one JSON object instead of text */
  const char *examples_path; /* score candidates by examples alone: the first five prompts of this table that are each
                              * one's own. NULL: by what was trained */
  /* el_router_train */
  const char *valid_path; /* what layer, pooling and penalty are validated on; NULL: a fifth of the table */
  const char *lora_path;  /* an adapter to read prompts with; it goes into the router's file. NULL: none */
  uint64_t seed;
  int max_tokens; /* read of a prompt, 16 to 8192; default 256 */
  int max_depth;  /* layers that prompts may go through; default 0: a quarter of them */
  bool no_refit;  /* keep the head that was validated; else it is fitted to the validation part too in the end */
} el_router_options;
EL_API el_router_options el_router_options_default(void);

/* Writes router_path, and a report. The same table, options and instruction set give the same router. */
EL_API el_status el_router_train(const el_router_options *o, el_write_fn write, void *user, el_error *err);
/* What the router's choices are worth on a table, beside simpler ones. */
EL_API el_status el_router_eval(const el_router_options *o, el_write_fn write, void *user, el_error *err);
/* What a router's file holds. */
EL_API el_status el_router_describe(const char *path, el_write_fn write, void *user, el_error *err);

/* ------------------------------------------------------------------- checks */

typedef struct el_adapter_check_options {
  const char *model_path;   /* the base, as in el_engine_options; required */
  const char *isa;          /* as of el_engine_options, like */
  const char *adapter_type; /* and */
  int n_threads;
} el_adapter_check_options;
EL_API el_adapter_check_options el_adapter_check_options_default(void);
/* Writes what the adapter at `path` is, which matrices it touches, the memory that it takes, and what it changes: how
 * far it moves logits, and its distributions' divergence, at some positions of texts that are always the same. One that
 * changes nothing is said to. What cannot be served is an error, as of el_adapter_add. */
EL_API el_status el_adapter_check(const el_adapter_check_options *o, const char *path, el_write_fn write, void *user,
                                  el_error *err);

/* -------------------------------------------------------------------- files */

/* Describes a GGUF file, a safetensors file or a PEFT adapter folder as text. */
EL_API el_status el_inspect(const char *path, el_write_fn write, void *user, el_error *err);

#ifdef __cplusplus
}
#endif
#endif
