/** @file edgelora.h
 * edgelora: one base language model and many LoRA adapters, served together.
 *
 * This is the library's whole interface. The command line and the server use nothing else of it.
 *
 * **A first program** opens an engine (el_engine_open()), registers adapters (el_adapter_add() or
 * el_adapter_add_dir()), submits a request (el_submit()) and takes its events (el_next_event())
 * until the one of type EL_EVENT_DONE. el_engine_close() ends it all.
 *
 * **Threads.** Every function may be called from any thread, at the same time as any other, unless
 * its comment says otherwise. What a close function frees may not be in use by another thread. An
 * el_engine owns one engine thread, which runs the model, and a pool of workers that compute inside
 * a step. Event callbacks run on the engine thread: they must be short, must not block, and must not
 * call el_engine_close().
 *
 * **Errors.** A function that can fail returns an el_status. EL_OK is 0. When it fails and `err` is
 * not NULL, `err` tells what is wrong in words that a person can act on. `err` may always be NULL. On
 * failure the output parameters keep what they had. Any function that allocates can return
 * EL_ERR_NO_MEMORY; comments name the other errors where the status tells more than the message.
 *
 * **Ownership.** A `char *` or an array that a function gives out belongs to the caller, who releases
 * it with el_free(). Where a list is one block, one el_free() releases it with its strings. Strings
 * and arrays that go in are copied, unless a comment says how long they must live.
 *
 * **Notation.** `text [len]` is an array of `len` elements, `x [rows, n]` one of `rows` times `n`. Strings are
 * UTF-8 and end in NUL unless a length stands beside them. Times are in the unit that their name ends
 * with (`_ms`, `_seconds`), sizes are in bytes or in tokens.
 */
#ifndef EDGELORA_H
#define EDGELORA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Marks what the shared library exports. */
#define EL_API __attribute__((visibility("default")))

/* ============================================================================================== */
/** @defgroup errors Errors, versions, memory and logs
 * @{ */

/** What a function returns when it can fail. */
typedef enum el_status {
  EL_OK = 0,
  EL_ERR_INVALID,     /**< an argument or a field of a request is out of range: the caller's mistake */
  EL_ERR_IO,          /**< the operating system refused to open, read, write, ... */
  EL_ERR_FORMAT,      /**< a file is malformed: truncated, overlapping, lying about its size, ... */
  EL_ERR_UNSUPPORTED, /**< well-formed, but it needs a feature that edgelora does not have */
  EL_ERR_NO_MEMORY,   /**< allocation failed, or a fixed pool is exhausted */
  EL_ERR_NOT_FOUND,   /**< there is no such adapter or request */
  EL_ERR_EXISTS,      /**< the name is taken */
  EL_ERR_BUSY,        /**< the request queue is full, or a wait has timed out: try again later */
  EL_ERR_TOO_LONG,    /**< the prompt does not fit the context, or a text is over its limit */
  EL_ERR_CLOSED,      /**< the engine is shutting down */
  EL_ERR_CONFLICT,    /**< it is not in the state that the caller expected: look again */
  EL_ERR_TOO_LARGE    /**< an adapter takes more than the whole memory pool; waiting does not help */
} el_status;

/** What went wrong. */
typedef struct el_error {
  el_status code;     /**< the same as the function returns */
  char message[1024]; /**< for whoever runs the engine: it names the file or the adapter that it is
                       * about. It always ends in NUL, and is cut where it does not fit. */
  size_t detail;      /**< `message + detail` may be shown to a tenant: it is the same message without the file's
                       * path or the adapter's name. It may be empty: then nothing may be shown. */
  const char *field;  /**< the field of el_request or el_sampling at fault, such as "candidates". It is a
                       * static string. NULL: no field is at fault, or it is not known which. */
} el_error;

/** A short name for a status, such as "invalid" or "not_found". It is static and never NULL. */
EL_API const char *el_status_name(el_status status);

/** The library's version, such as "0.1.0". It is static. */
EL_API const char *el_version(void);

/** Releases what another function of this header gave to the caller. NULL is allowed. */
EL_API void el_free(void *p);

/** How much a log line matters. */
typedef enum el_log_level {
  EL_LOG_DEBUG, /**< for developers */
  EL_LOG_INFO,  /**< what happens in normal operation */
  EL_LOG_WARN,  /**< something may be wrong; the engine goes on */
  EL_LOG_ERROR  /**< something failed */
} el_log_level;
/** Receives one log line, without a newline at its end; `line` is valid during the call only. Any
 * thread may call it. */
typedef void (*el_log_fn)(void *user, el_log_level level, const char *line);

/** @} */
/* ============================================================================================== */
/** @defgroup limits Limits
 * What is over a limit is refused, and the message names the field and the limit.
 * @{ */

/** The limits of options, adapters, requests, texts and tables. */
enum {
  EL_MAX_THREADS = 1024,      /**< el_engine_options.n_threads */
  EL_MAX_SLOTS = 256,         /**< el_engine_options.n_slots and step_adapters */
  EL_MAX_CTX_SIZE = 1 << 20,  /**< el_engine_options.ctx_size, tokens */
  EL_MAX_STEP_ROWS = 4096,    /**< el_engine_options.step_rows */
  EL_MAX_QUEUE = 1 << 16,     /**< el_engine_options.max_queue, requests */
  EL_MAX_SPECULATE = 15,      /**< el_engine_options.speculate, tokens: with the row that is computed
                               * anyway, 16 rows of a step */
  EL_MAX_ROUTER_MARGIN = 100, /**< el_engine_options.router_margin, logits */

  EL_MAX_NAME_BYTES = 255, /**< bytes of an adapter's name or alias */
  EL_MAX_RANK = 1024,      /**< rank of an adapter's linear layer; of adapters that are applied together, the
                            * sum of their ranks */
  EL_MAX_PINNED = 256,     /**< adapters that are pinned at once */
  EL_MAX_COMBINED = 16,    /**< adapters that one request applies together */
  EL_MAX_SCALE = 1000,     /**< magnitude of an adapter's scale */
  EL_MAX_EXAMPLES = 8,     /**< example prompts that an adapter brings along */

  EL_MAX_CANDIDATES = 1024,  /**< names and patterns among which the router decides */
  EL_MAX_SCORES = 100,       /**< candidates that an event lists, and el_engine_options.router_top_k */
  EL_MAX_STOPS = 64,         /**< stop strings of a request or a preset */
  EL_MAX_STOP_BYTES = 1024,  /**< bytes of one stop string */
  EL_MAX_STOP_TOKENS = 256,  /**< el_request.stop_tokens */
  EL_MAX_SHOWN_TOKENS = 256, /**< shown_tokens of a request or of a constraint */
  EL_MAX_TOP_LOGPROBS = 20,  /**< alternatives for each token, generated or of the prompt */
  EL_MAX_LOGIT_BIAS = 4096,  /**< entries of el_sampling.logit_bias */
  EL_MAX_BAD_WORDS = 16384,  /**< numbers in el_sampling.bad_words, the -1 after each sequence included */
  EL_MAX_WEIGHT = 64,        /**< el_request.weight */
  EL_MAX_OVERTAKEN = 32,     /**< requests of a later turn that may start before one that waits for its adapter */

  EL_MAX_TEXT_BYTES = 1 << 30,       /**< bytes of a text that becomes tokens at once */
  EL_MAX_TOOLS = 1024,               /**< tools of a request */
  EL_MAX_TOOL_NAME = 128,            /**< bytes of a tool's name */
  EL_MAX_CONSTRAINT_BYTES = 4 << 20, /**< bytes of all texts of a constraint's source together */
  EL_MAX_CHOICES = 1 << 16,          /**< texts of a constraint of type EL_CONSTRAINT_CHOICE */
  EL_MAX_TAGS = 1024,                /**< tags, and triggers, of a constraint of type EL_CONSTRAINT_TAGS */

  EL_MIN_ROUTER_TOKENS = 16,    /**< el_router_options.max_tokens, at least */
  EL_MAX_ROUTER_TOKENS = 8192,  /**< el_router_options.max_tokens, at most */
  EL_MAX_TABLE_COLUMNS = 1024,  /**< candidates in a router's table, the base included */
  EL_MAX_TABLE_ROWS = 1 << 20,  /**< prompts in a router's table */
  EL_MAX_TABLE_PROMPT = 1 << 20 /**< bytes of one prompt in a router's table */
};
#define EL_MIN_REPEAT_PENALTY 1e-3f /**< el_sampling.repeat_penalty, at least */
/** el_sampling.repeat_penalty, at most; the magnitude of frequency_penalty and presence_penalty. */
#define EL_MAX_PENALTY 1e3f
#define EL_MAX_BIAS 1e6f /**< magnitude of a logit's bias */

/** @} */
/* ============================================================================================== */
/** @defgroup tokenizer Tokenizer
 * Text to tokens and back.
 * @{ */

/** A model's vocabulary and how it cuts texts. It never changes once it is open: threads share it freely. */
typedef struct el_tokenizer el_tokenizer;

/** Opens the tokenizer of a GGUF file; one that has only a vocabulary is enough. EL_ERR_IO,
 * EL_ERR_FORMAT and EL_ERR_UNSUPPORTED name the file. Close *out with el_tokenizer_close(). */
EL_API el_status el_tokenizer_open(const char *gguf_path, el_tokenizer **out, el_error *err);
/** Frees a tokenizer from el_tokenizer_open(). NULL is allowed. */
EL_API void el_tokenizer_close(el_tokenizer *t);
/** A line for whoever runs the model: what the file says, or leaves out, that may make answers worse,
 * such as an unknown pre-tokenizer. NULL: there is nothing to tell. Valid while the tokenizer is open. */
EL_API const char *el_tokenizer_notice(const el_tokenizer *t);

/** Flags of el_tokenize(). */
enum {
  EL_TOKENIZE_BOS = 1,     /**< put BOS first if the model's file asks for it (add_bos_token), unless, with
                            * SPECIAL, the text begins with it */
  EL_TOKENIZE_SPECIAL = 2, /**< text such as <|im_end|> becomes the special token; without it, it is plain text */
  EL_TOKENIZE_LOSSY = 4    /**< leave out bytes that the vocabulary has no token for; without it, they are an error */
};
/** Cuts `text [len]` into tokens: any bytes, NUL included, at most EL_MAX_TEXT_BYTES of them. `flags`:
 * EL_TOKENIZE_..., joined by `|`. *out gets *n token ids; free it with el_free().
 *
 * EL_ERR_INVALID: the text is too long, or the vocabulary has no token for one of its bytes. Some
 * models lack a few bytes that UTF-8 text hardly ever holds (SmolLM2: 0x04, 0x06, 0x13, 0x14, 0x16,
 * 0x1d and 15 above 0x7f). */
EL_API el_status el_tokenize(const el_tokenizer *t, const char *text, size_t len, int flags, int32_t **out, size_t *n,
                             el_error *err);
/** As el_tokenize(), for a text that is of use only when it has at most `most` tokens. EL_ERR_TOO_LONG: it
 * has more; the message says how many at least. That costs no more than `most` tokens do, however long
 * the text is. */
EL_API el_status el_tokenize_at_most(const el_tokenizer *t, const char *text, size_t len, int flags, size_t most,
                                     int32_t **out, size_t *n, el_error *err);
/** The exact bytes of `tokens [n]`. *out has *len bytes and a NUL behind them; free it with el_free().
 * Special tokens are written only when `special` is true. The text that el_tokenize() read comes back:
 * where a tokenizer puts a space in front of a text (and of what follows a special token), this takes
 * it away again. EL_ERR_INVALID: a token is not in the vocabulary. */
EL_API el_status el_detokenize(const el_tokenizer *t, const int32_t *tokens, size_t n, bool special, char **out,
                               size_t *len, el_error *err);
/** As el_detokenize(), for tokens that follow the token `before` (-1: none). The texts of the parts of a
 * sequence, each after the last token of the part before it, join to the text of the whole. */
EL_API el_status el_detokenize_after(const el_tokenizer *t, int32_t before, const int32_t *tokens, size_t n,
                                     bool special, char **out, size_t *len, el_error *err);
EL_API int32_t el_tokenizer_n_vocab(const el_tokenizer *t); /**< Tokens in the vocabulary: ids are 0 to this - 1. */
EL_API int32_t el_tokenizer_bos(const el_tokenizer *t);     /**< The token that begins a text; -1: there is none. */
EL_API int32_t el_tokenizer_eos(const el_tokenizer *t);     /**< The token that ends a text; -1: there is none. */
/** Tokens that mark a gap for the model to fill in. */
typedef enum el_fim {
  EL_FIM_PREFIX,     /**< before the text in front of the gap */
  EL_FIM_SUFFIX,     /**< before the text behind the gap */
  EL_FIM_MIDDLE,     /**< where the model begins to fill in */
  EL_FIM_PAD,        /**< stands for nothing */
  EL_FIM_REPOSITORY, /**< before a repository's name */
  EL_FIM_SEPARATOR   /**< between files */
} el_fim;
enum { EL_N_FIM = 6 /**< values of el_fim */ };
/** The token for `which`, as the file says or as the tokens' texts tell; -1: the model has none. */
EL_API int32_t el_tokenizer_fim(const el_tokenizer *t, el_fim which);
/** Whether generation ends at this token: EOS, EOT and the like. */
EL_API bool el_tokenizer_is_eog(const el_tokenizer *t, int32_t token);

/** @} */
/* ============================================================================================== */
/** @defgroup chat Conversations
 * Chat templates turn messages into a prompt.
 * @{ */

/** What an el_value is. */
typedef enum el_value_type {
  EL_VALUE_NULL,    /**< null */
  EL_VALUE_BOOL,    /**< `boolean` */
  EL_VALUE_INTEGER, /**< `integer` */
  EL_VALUE_REAL,    /**< `real` */
  EL_VALUE_STRING,  /**< `string` */
  EL_VALUE_ARRAY,   /**< `array` */
  EL_VALUE_OBJECT   /**< `object` */
} el_value_type;
typedef struct el_value el_value;   /**< a value as JSON has it */
typedef struct el_member el_member; /**< a member of an object */
/** A value as JSON has it. Whoever fills it in owns what it points to. */
struct el_value {
  el_value_type type; /**< which member of the union counts */
  union {
    bool boolean;    /**< EL_VALUE_BOOL */
    int64_t integer; /**< EL_VALUE_INTEGER */
    double real;     /**< EL_VALUE_REAL */
    struct {
      const char *data; /**< UTF-8; NUL is allowed inside */
      size_t len;       /**< bytes */
    } string;           /**< EL_VALUE_STRING */
    struct {
      const el_value *items; /**< [n] */
      size_t n;              /**< elements */
    } array;                 /**< EL_VALUE_ARRAY */
    struct {
      const el_member *members; /**< [n] */
      size_t n;                 /**< members */
    } object;                   /**< EL_VALUE_OBJECT */
  };
};
/** A member of an object. */
struct el_member {
  const char *name; /**< UTF-8 */
  el_value value;   /**< its value */
};

/** A message of a conversation. */
typedef struct el_message {
  const char *role;    /**< "system", "user", "assistant" or "tool" */
  const char *content; /**< UTF-8 */
} el_message;
/** Whether the model's file has a chat template. Where it has none, conversations are written as ChatML. */
EL_API bool el_tokenizer_has_template(const el_tokenizer *t);
/** Renders `messages [n]` with the model's own chat template. When `add_generation_prompt` is true, the
 * opening of the assistant's message follows. Tokenize *out with EL_TOKENIZE_SPECIAL; if the template
 * writes BOS, the text has it. Free *out with el_free().
 *
 * EL_ERR_INVALID: the template refuses the conversation, and the message says why.
 * EL_ERR_UNSUPPORTED: the template is malformed, or uses what edgelora does not have. */
EL_API el_status el_chat_render(const el_tokenizer *t, const el_message *messages, size_t n, bool add_generation_prompt,
                                char **out, el_error *err);
/** As el_chat_render(), but straight to tokens: text inside a message's content never becomes a control
 * token, as with el_tokenize() without EL_TOKENIZE_SPECIAL. *out gets *n_out token ids. */
EL_API el_status el_chat_tokenize(const el_tokenizer *t, const el_message *messages, size_t n,
                                  bool add_generation_prompt, int32_t **out, size_t *n_out, el_error *err);
/** As el_chat_tokenize(). It also tells the tokens [*begin, *end) that hold the content of the last message
 * with role "user", for el_request.focus_begin; both are 0 when there is none. `most` as in
 * el_tokenize_at_most(); SIZE_MAX: no limit. */
EL_API el_status el_chat_tokenize_span(const el_tokenizer *t, const el_message *messages, size_t n,
                                       bool add_generation_prompt, size_t most, int32_t **out, size_t *n_out,
                                       size_t *begin, size_t *end, el_error *err);

/** A chat template other than the model's own. It never changes once it is open: threads share it freely. */
typedef struct el_chat_template el_chat_template;
/** Reads `source`, a Jinja text as transformers runs it. EL_ERR_INVALID, EL_ERR_UNSUPPORTED: it cannot be
 * used, and the message says why. Close *out with el_chat_template_close(). */
EL_API el_status el_chat_template_open(const el_tokenizer *t, const char *source, el_chat_template **out,
                                       el_error *err);
/** Frees a template from el_chat_template_open(). NULL is allowed. */
EL_API void el_chat_template_close(el_chat_template *c);

/** A conversation with all that templates can read. */
typedef struct el_chat {
  const el_value *messages;    /**< an array of at least one object, with "role" and whatever the template reads:
                                * "content" (a string, or an array of {"type": "text", "text": ...}, joined by line
                                * ends for templates that take strings alone), "tool_calls", "reasoning_content",
                                * "name", ... A null counts as if it were not there. */
  const el_value *tools;       /**< an array of tools; NULL: none */
  const el_value *documents;   /**< an array of documents; NULL: none */
  const el_member *variables;  /**< [n_variables] further variables, such as "enable_thinking". They replace none
                                * of those above. */
  size_t n_variables;          /**< number of variables */
  bool add_generation_prompt;  /**< the text ends with the opening of the assistant's message */
  bool continue_final_message; /**< instead: the text ends with the last message's content, to go on with it */
  const el_chat_template *template_instead; /**< NULL: the model's own template */
} el_chat;
/** As el_chat_render(), with all of el_chat. *out has *len bytes and a NUL behind them. */
EL_API el_status el_chat_text(const el_tokenizer *t, const el_chat *chat, char **out, size_t *len, el_error *err);
/** As el_chat_tokenize_span(), with all of el_chat. */
EL_API el_status el_chat_tokens(const el_tokenizer *t, const el_chat *chat, size_t most, int32_t **out, size_t *n_out,
                                size_t *begin, size_t *end, el_error *err);

/** @} */
/* ============================================================================================== */
/** @defgroup answers Answers
 * What a model writes has parts: text, the reasoning before it, and calls of tools. The model's chat
 * template teaches it how to mark them.
 * @{ */

/** How a template's models mark the parts of an answer. It never changes once it is open: threads share
 * it freely. */
typedef struct el_answer_format el_answer_format;
/** Finds the format out by rendering conversations with the template (NULL: the model's own). That takes
 * some milliseconds. A template that writes no calls has the format of plain JSON: {"name": ...,
 * "arguments": {...}}. Close *out with el_answer_format_close(). */
EL_API el_status el_answer_format_open(const el_tokenizer *t, const el_chat_template *template_instead,
                                       el_answer_format **out, el_error *err);
/** Frees a format. NULL is allowed. */
EL_API void el_answer_format_close(el_answer_format *f);

/** What a format is. Its pointers are valid while the format is open. */
typedef struct el_answer_info {
  const char *calls;           /**< how calls are written, for people: "json", "name and json", "parameters", ... */
  const char *call_begin;      /**< what a call begins with, such as "<tool_call>"; "": nothing */
  bool shows_tools;            /**< the template tells the model of the tools; if not, use
                                * el_answer_instructions() */
  bool writes_calls;           /**< it renders messages with "tool_calls", and those of role "tool" */
  bool takes_system;           /**< it takes a message of role "system" */
  bool text_arguments;         /**< it takes arguments as strings, as the API has them; others want objects */
  bool parallel;               /**< it can write several calls in one message */
  const char *reasoning_begin; /**< what reasoning begins with, such as "<think>"; "": it marks none */
  const char *reasoning_end;   /**< what reasoning ends with, such as "</think>"; "": it marks none */
  const int32_t *shown_tokens; /**< [n_shown_tokens] control tokens whose text the parser has to see */
  size_t n_shown_tokens;       /**< number of shown tokens */
} el_answer_info;
/** Fills *out. */
EL_API void el_answer_format_info(const el_answer_format *f, el_answer_info *out);

/** The tools of a request, read once. They never change once they are open: threads share them freely. */
typedef struct el_tools el_tools;
/** Reads `tools`: an array of {"type": "function", "function": {"name", "description", "parameters",
 * "strict"}}. Names are letters, digits, '_', '-' and '.', EL_MAX_TOOL_NAME bytes at most, and no name
 * comes twice. EL_ERR_INVALID: the message says what is wrong where. Close *out with el_tools_close(). */
EL_API el_status el_tools_open(const el_value *tools, el_tools **out, el_error *err);
/** Frees tools. NULL is allowed. */
EL_API void el_tools_close(el_tools *t);
/** Whether one of the tools has this name. */
EL_API bool el_tools_have(const el_tools *t, const char *name);

/** Which calls an answer may have, or must have. */
typedef struct el_call_rules {
  bool required;    /**< at least one */
  const char *only; /**< of this tool alone; NULL: of any */
  bool parallel;    /**< more than one is allowed */
} el_call_rules;

/** What the conversation (its system message) has to say where the template does not show tools: which
 * there are, and how to call them. *out has *len bytes and a NUL behind them; free it with el_free(). */
EL_API el_status el_answer_instructions(const el_answer_format *f, const el_tools *t, const el_call_rules *rules,
                                        char **out, size_t *len, el_error *err);
/** A call as the format's models write it, to stand in a message's content where the template writes none.
 * `arguments [n]`: the text of a JSON object. *out has *len bytes and a NUL behind them; free it with
 * el_free(). */
EL_API el_status el_answer_call_text(const el_answer_format *f, const char *name, const char *arguments, size_t n,
                                     char **out, size_t *len, el_error *err);
struct el_constraint_source;
/** A source for el_constraint_open() that makes the model write calls as the rules and the tools' schemas
 * say. `prompt [prompt_len]`: the end of the rendered prompt, as in el_answer_options. *out is one block; free it
 * with el_free(). NULL: no constraint is needed, as nothing is required and no tool is strict.
 *
 * Where a model does not write arguments as JSON, they have the form that they must have, but their values need
 * not follow the schema. EL_ERR_INVALID: `only` is none of the tools. */
EL_API el_status el_answer_constraint(const el_answer_format *f, const el_tools *t, const el_call_rules *rules,
                                      const char *prompt, size_t prompt_len, struct el_constraint_source **out,
                                      el_error *err);

/** What a part of an answer is. */
typedef enum el_answer_part_type {
  EL_ANSWER_TEXT,      /**< text for the reader */
  EL_ANSWER_REASONING, /**< what the model thinks before it */
  EL_ANSWER_CALL,      /**< a call begins: `text` is the tool's name */
  EL_ANSWER_ARGUMENTS  /**< a piece of the JSON text of its arguments; the pieces of a call join to an object */
} el_answer_part_type;
/** A part, or a piece of one. It is valid during the call only. */
typedef struct el_answer_part {
  el_answer_part_type type; /**< what it is */
  const char *text;         /**< [len] UTF-8, without a NUL at its end */
  size_t len;               /**< bytes, 1 at least */
  size_t call;              /**< CALL and ARGUMENTS: the number of the call in this answer, from 0 */
} el_answer_part;
/** Receives the parts of an answer in order. */
typedef void (*el_answer_fn)(void *user, const el_answer_part *part);

/** How an answer is to be read. */
typedef struct el_answer_options {
  const el_tools *tools; /**< must stay open as long as the parser. NULL: calls are text */
  const char *prompt;    /**< [prompt_len] the end of the rendered prompt; 256 bytes are enough. It tells whether
                          * the prompt has opened the reasoning. */
  size_t prompt_len;     /**< bytes */
  bool keep_reasoning;   /**< reasoning is part of the text, as the model writes it */
  bool whole_calls;      /**< a call is given when all of it is there. Otherwise its arguments come as they are
                          * written, and what turns out not to be JSON in the end is text from there on. */
} el_answer_options;

/** Reads one answer as it comes. One thread at a time uses it. */
typedef struct el_answer_parser el_answer_parser;
/** Opens a parser for one answer. The format must stay open as long. Close *out with
 * el_answer_parser_close(). */
EL_API el_status el_answer_parser_open(const el_answer_format *f, const el_answer_options *o, el_answer_parser **out,
                                       el_error *err);
/** Frees a parser. NULL is allowed. */
EL_API void el_answer_parser_close(el_answer_parser *p);
/** Reads `text [len]`, the next piece, and gives the parts that have become certain to `on_part`. Joined, they are the
 * same however the text is cut. What is no call of one of the tools, or a malformed one, is text: nothing is
 * dropped but the marks and the white space around them. The time it takes is proportional to the text.
 * EL_ERR_NO_MEMORY is the only error; then the parser can only be closed. */
EL_API el_status el_answer_parser_push(el_answer_parser *p, const char *text, size_t len, el_answer_fn on_part,
                                       void *user, el_error *err);
/** The answer has ended: gives what is left to `on_part`. Errors as of el_answer_parser_push(). */
EL_API el_status el_answer_parser_finish(el_answer_parser *p, el_answer_fn on_part, void *user, el_error *err);
/** How many calls have been given so far. */
EL_API size_t el_answer_parser_calls(const el_answer_parser *p);

/** @} */
/* ============================================================================================== */
/** @defgroup sampling Sampling
 * How the next token is drawn from the model's logits.
 * @{ */

/** A token that is to come more or less often. */
typedef struct el_logit_bias {
  int32_t token; /**< its id */
  float bias;    /**< added to its logit; -100 or less bans the token; EL_MAX_BIAS in magnitude at most */
} el_logit_bias;

/** How to draw. The order is: allowed tokens, bias, bad words, penalties, then (with a temperature above
 * 0) top-k, top-p, min-p, temperature, draw. */
typedef struct el_sampling {
  float temperature;       /**< 0 or more; 0: greedy, always the most likely token */
  int top_k;               /**< draw from this many most likely tokens; 0: off */
  float top_p;             /**< above 0, to 1: draw from the most likely tokens that make up this share; 1: off */
  float min_p;             /**< 0 to 1: drop tokens less likely than this times the likeliest; 0: off */
  float repeat_penalty;    /**< 1: off; divides positive logits of seen tokens, multiplies negative ones (CTRL,
                            * arXiv 1909.05858); EL_MIN_REPEAT_PENALTY to EL_MAX_PENALTY */
  float frequency_penalty; /**< 0: off; taken off the logit for each time a token is in the generated text, as
                            * OpenAI has it */
  float presence_penalty;  /**< 0: off; taken off once if a token is in the generated text, as OpenAI has it */
  int repeat_last_n;       /**< tokens that repeat_penalty looks back, prompt included; -1: all; default 64 */
  uint64_t seed;           /**< the same seed gives the same text, whatever else runs */
  const el_logit_bias *logit_bias; /**< [n_logit_bias] */
  size_t n_logit_bias;             /**< EL_MAX_LOGIT_BIAS at most */
  const int32_t *allowed_tokens;   /**< [n_allowed_tokens] nothing else is drawn */
  size_t n_allowed_tokens;         /**< 0: every token is allowed */
  const int32_t *bad_words;        /**< [n_bad_words] sequences of tokens, one after the other, each followed by -1: the
                                    * last token of a sequence is not drawn where the others before it have just been
                                    * generated */
  size_t n_bad_words;              /**< EL_MAX_BAD_WORDS numbers at most */
} el_sampling;

/** Greedy, no penalties, repeat_last_n 64. */
EL_API el_sampling el_sampling_default(void);

/** @} */
/* ============================================================================================== */
/** @defgroup presets Presets
 * What an adapter brings besides its weights, from edgelora.json in its folder or NAME.json beside
 * NAME.gguf: how it wants to be asked. docs/adapters.md describes the file.
 * @{ */

/** Fields of a request that a preset may set. */
enum {
  EL_PRESET_TEMPERATURE = 1 << 0,        /**< el_sampling.temperature */
  EL_PRESET_TOP_P = 1 << 1,              /**< el_sampling.top_p */
  EL_PRESET_TOP_K = 1 << 2,              /**< el_sampling.top_k */
  EL_PRESET_MIN_P = 1 << 3,              /**< el_sampling.min_p */
  EL_PRESET_REPETITION_PENALTY = 1 << 4, /**< el_sampling.repeat_penalty */
  EL_PRESET_REPEAT_LAST_N = 1 << 5,      /**< el_sampling.repeat_last_n */
  EL_PRESET_FREQUENCY_PENALTY = 1 << 6,  /**< el_sampling.frequency_penalty */
  EL_PRESET_PRESENCE_PENALTY = 1 << 7,   /**< el_sampling.presence_penalty */
  EL_PRESET_SEED = 1 << 8,               /**< el_sampling.seed */
  EL_PRESET_MAX_TOKENS = 1 << 9,         /**< el_request.max_tokens */
  EL_PRESET_STOP = 1 << 10,              /**< el_request.stop */
  EL_PRESET_SCHEMA = 1 << 11,            /**< el_request.constraint, unless the request has one */
  EL_PRESET_ALL = (1 << 12) - 1          /**< all of them */
};

/** A preset that has been read. Texts that it does not have are NULL. */
typedef struct el_preset {
  const char *description;    /**< for people */
  const char *system;         /**< for conversations that have no system message; the caller puts it in front */
  const char *chat_template;  /**< Jinja */
  const char *schema;         /**< JSON schema of its answers, as text */
  const char *const *aliases; /**< [n_aliases] other names that the adapter wants */
  size_t n_aliases;           /**< number of aliases */
  float lora_scale;           /**< multiplies the adapter's product when it is used alone; 1: as trained */
  unsigned set;               /**< which of the EL_PRESET_... fields it has */
  el_sampling sampling;       /**< of these, those of sampling */
  int max_tokens;             /**< EL_PRESET_MAX_TOKENS */
  const char *const *stop;    /**< [n_stop] EL_PRESET_STOP */
  size_t n_stop;              /**< number of stop strings */
} el_preset;

/** Copies what the preset has of sampling, as far as `fields` (EL_PRESET_...) says, into *s. */
EL_API void el_sampling_apply_preset(el_sampling *s, const el_preset *p, unsigned fields);

/** @} */
/* ============================================================================================== */
/** @defgroup engine Engine
 * A model in memory, and the thread that runs it.
 * @{ */

/** An engine. Any thread may use it at any time; el_engine_close() comes last. */
typedef struct el_engine el_engine;

/** Receives how far a load is: `done` of `total` bytes of the file's weights. `done` grows, and reaches `total` in the
 * last call alone. The thread that opens the engine calls it, several times for each megabyte. */
typedef void (*el_progress_fn)(void *user, uint64_t done, uint64_t total);

/** How to open an engine. Begin with el_engine_options_default(). The strings need to live only until
 * el_engine_open() returns. */
typedef struct el_engine_options {
  const char *model_path;         /**< a GGUF file, any part of one, or a folder that holds one; required */
  const char *chat_template_path; /**< a file with the chat template to use; NULL: the model's own template */
  const char *model_name;         /**< what requests call the base; NULL: the file's general.name, or its stem */
  const char *isa;                /**< instruction set: "scalar", "avx2", "avx512vnni", "amx_int8", ...; NULL: the best
                                   * that this CPU has */
  int n_threads;         /**< threads that compute, the engine thread included; 0: one for each physical core, or for
                          * each CPU of cpu_list; EL_MAX_THREADS at most */
  const char *cpu_list;  /**< keep each of these threads on a CPU of its own: numbers and ranges, such as "0-3,8", or
                          * "auto", one CPU of each physical core. All must be CPUs that the process may use, and at
                          * least n_threads of them. NULL: the system places the threads, which is best where other
                          * programs run too. */
  int n_slots;           /**< sequences that run at once, 1 to EL_MAX_SLOTS; default 32 */
  int ctx_size;          /**< tokens that a sequence may have, prompt and answer, EL_MAX_CTX_SIZE at most; 0: the
                          * model's own context, as far as half of the memory holds it */
  int step_rows;         /**< rows of one step, decode rows and rows of prompts together, n_slots to
                          * EL_MAX_STEP_ROWS; default 128 */
  int step_adapters;     /**< adapters that one step computes with, the base counted as one. The adapter of the oldest
                          * sequence always has its turn. 0: all. 1 is for comparison: sequences of other adapters
                          * wait. */
  int max_queue;         /**< requests that wait for a slot, 0 to EL_MAX_QUEUE; default 1024; beyond it el_submit()
                          * returns EL_ERR_BUSY */
  const char *weights;   /**< "keep": as precise as the types in the file; "q8": 16- and 32-bit weights as 8-bit
                          * integers; "f16": all weights as 16 bits, for comparison. NULL: "keep" */
  uint64_t memory_bytes; /**< size of the pool that the KV cache and adapters share; weights come on top. 0: whole
                          * contexts for 16 slots, or for half of the slots if these are more, and 512 MiB; but at
                          * most half of the available memory. */
  const char *cache_policy; /**< which adapters stay in memory: "frequency", "s3-fifo", "lru"; "none", for comparison:
                             * an adapter leaves when no running or waiting request wants it. NULL: "frequency" */
  bool prefix_cache;        /**< keep what was computed for the beginning of a request, for others with the same adapter
                             * and prefix_domain that begin alike. Answers are the same with and without. Default true */
  int speculate;            /**< tokens that an answer may guess ahead for one step to check, from its own text and from
                             * what its adapter has answered in the same prefix_domain. Answers are the same with and
                             * without. -1, the default: as many as have been worth their time; 0: none; 1 to
                             * EL_MAX_SPECULATE: always so many */
  bool prefault;         /**< take the pool's memory from the system at once and keep it, so that no step waits for the
                          * system to find and clear pages. false: take it as it is used, give it back when idle */
  const char *cache_dir; /**< a folder for what is learnt about adapter files. It is made when it is missing, may be
                          * deleted at any time, and processes may share it. NULL: none */
  const char *kv_type;   /**< type of the KV cache: "f16"; "q8": 8-bit integers, half the memory, and faster with long
                          * contexts. NULL: "f16" */
  const char *adapter_type; /**< type of adapters in memory: "q8": 8-bit integers; "q4": 4-bit integers, about half the
                             * memory, less exact; "f16": 16-bit floats, for comparison. NULL: "q8" */
  const char *preset_path;  /**< a file with the base's own preset, without aliases and lora_scale; NULL: none */
  const char *router_path;  /**< a router for this model, as `edgelora router train` writes it, for requests with
                             * EL_BY_ROUTER. NULL: none; such requests are refused */
  int router_top_k;         /**< among this many best-scored adapters, the router prefers one that is in memory;
                             * EL_MAX_SCORES at most; 0: as the router's file says */
  float router_margin; /**< and only among those that are so close to the best, in logits (0.25 is 0.06 of a score in
                        * the middle, less towards 0 and 1); EL_MAX_ROUTER_MARGIN at most; negative: as the file
                        * says */
  el_log_fn log;       /**< receives log lines; NULL: silent */
  void *log_user;      /**< passed to `log` */
  el_progress_fn progress; /**< receives how far the load is; NULL: none */
  void *progress_user;     /**< passed to `progress` */
} el_engine_options;

/** Defaults for everything but model_path. */
EL_API el_engine_options el_engine_options_default(void);

/** What an engine with some options would have, found out from the headers of files alone. */
typedef struct el_engine_plan {
  char architecture[64];   /**< the model's, such as "llama" */
  uint64_t weight_bytes;   /**< weights as they lie in the file; in memory they take about as much */
  uint64_t pool_bytes;     /**< size of the pool */
  uint64_t block_bytes;    /**< size of one of its blocks */
  int ctx_train;           /**< as of el_model_info */
  int ctx_size;            /**< as of el_model_info */
  uint64_t context_bytes;  /**< what a whole context takes of the pool */
  uint64_t n_contexts;     /**< whole contexts that the pool holds beside one adapter */
  size_t n_adapters;       /**< adapters that would be offered */
  size_t n_refused;        /**< adapters that would be refused; the log says why */
  size_t n_looked_at;      /**< of n_adapters: those whose size in memory is known */
  uint64_t adapter_bytes;  /**< what one of these takes of the pool on average; if there are none, one of rank 16 */
  uint64_t n_adapters_fit; /**< adapters of that size that the pool holds beside one whole context */
} el_engine_plan;
/** Checks what el_engine_open(), el_adapter_add() of `adapters [n_adapters]` (paths) and el_adapter_add_dir() of
 * `dirs [n_dirs]` would check, as far as that needs no weights: options, the model's header, tokenizer and
 * template. Where a folder holds many adapters, only the first ones are read. */
EL_API el_status el_engine_plan_read(const el_engine_options *options, const char *const *adapters, size_t n_adapters,
                                     const char *const *dirs, size_t n_dirs, el_engine_plan *out, el_error *err);

/** Loads the model and starts the engine thread. Weights are read and repacked piece by piece; then the file
 * is closed. A file that changes meanwhile is an error. Close *out with el_engine_close(). */
EL_API el_status el_engine_open(const el_engine_options *options, el_engine **out, el_error *err);
/** Cancels what runs (each request gets its last event), stops the threads and frees everything. No other call
 * may follow, but threads that wait in el_next_event() return. Not from a callback. NULL is allowed. */
EL_API void el_engine_close(el_engine *e);
/** How often the engine thread has come round; the call wakes it. It comes round again, idle or not, as soon as the
 * step that it may be in has ended. So when two calls with more than a step's time between them return the
 * same number, the engine hangs. Work that it does while idle is not disturbed. */
EL_API uint64_t el_engine_turns(el_engine *e);

/** How the hidden states of a prompt's tokens, the output of the last norm, become one vector. */
typedef enum el_embed {
  EL_EMBED_NONE,     /**< of a request: no vector is wanted, text is; of a model: its file says nothing */
  EL_EMBED_MEAN,     /**< their mean */
  EL_EMBED_CLS,      /**< the first token's */
  EL_EMBED_LAST,     /**< the last token's */
  EL_EMBED_RANK,     /**< of a model only: it gives a score, not a vector; it can be asked for the others */
  EL_EMBED_AS_MODEL, /**< of a request only: as the model's file says (pooling_type), or else the mean */
} el_embed;

/** What an engine has. Its strings are valid while the engine is open. */
typedef struct el_model_info {
  const char *name;         /**< what requests call the base */
  const char *architecture; /**< such as "llama" */
  const char *isa;          /**< instruction set in use */
  int speculate;            /**< as of el_engine_options */
  uint64_t n_params;        /**< parameters of the model */
  uint64_t weight_bytes;    /**< size of the packed weights in memory */
  uint64_t pool_bytes;      /**< size of the pool of KV cache and adapters; touched as it is used, unless prefault */
  uint64_t kv_bytes;        /**< what the KV cache may have of it */
  uint64_t block_bytes;     /**< size of one block of the pool */
  int n_vocab;              /**< tokens in the vocabulary */
  int n_layers;             /**< layers */
  int n_embd;               /**< length of a hidden state */
  int n_heads;              /**< attention heads of a layer */
  int n_kv_heads;           /**< heads of keys and values of a layer */
  int n_ff;                 /**< width of the feed-forward network */
  el_embed pooling;         /**< what the file says about vectors of texts */
  int ctx_train;            /**< context that the model was trained for, tokens */
  int ctx_size;             /**< context of a sequence in this engine, tokens */
  int n_slots;              /**< as of el_engine_options */
  int n_threads;            /**< threads that compute */
  int step_rows;            /**< as of el_engine_options */
} el_model_info;
/** Fills *out. */
EL_API void el_engine_info(const el_engine *e, el_model_info *out);
/** The engine's tokenizer. It is valid while the engine is open, and not to be closed. */
EL_API const el_tokenizer *el_engine_tokenizer(const el_engine *e);

/** @} */
/* ============================================================================================== */
/** @defgroup adapters Adapters
 * An adapter is registered by where its files are. Its weights are loaded into the pool when a request
 * wants them, and stay there until the room is wanted for something else. So thousands can be offered.
 *
 * An adapter is found by its name, by its id, and by the aliases of its preset. A name comes before every
 * alias. Of two adapters that want one alias, the one that was registered first has it, and the log
 * tells of the other.
 * @{ */

/** Registers a folder of PEFT's (adapter_config.json and adapter_model.safetensors, or its parts with their index) or
 * of mlx-lm's (adapters.safetensors), or a GGUF LoRA file; docs/adapters.md says exactly which. It is read and
 * checked at once, so that an error is told here. Requests call it `name`: 1 to EL_MAX_NAME_BYTES bytes, without
 * control characters, and neither the base's name nor a registered one (EL_ERR_EXISTS). */
EL_API el_status el_adapter_add(el_engine *e, const char *name, const char *path, el_error *err);

/** For el_adapter_put() and el_adapter_remove_expected(): any generation will do. */
#define EL_ANY_GENERATION UINT64_MAX
/** How el_adapter_put() registers an adapter. */
typedef struct el_adapter_put_options {
  bool in_place;     /**< when an adapter has the name, these files take its place. Its running requests finish with the
                      * old files, later ones get the new, and nothing that was computed with the old files is used
                      * again. When the new files cannot be used, the old adapter stays. */
  uint64_t expected; /**< the generation that the adapter of this name must have; 0: there must be none;
                      * EL_ANY_GENERATION. Otherwise EL_ERR_CONFLICT */
  bool pinned;       /**< pin it, as el_adapter_pin() does; when that cannot be, nothing is added */
} el_adapter_put_options;
/** As el_adapter_add(), which is the same with `options` NULL: neither in place nor pinned. *generation
 * becomes that of what has been added; `generation` may be NULL. */
EL_API el_status el_adapter_put(el_engine *e, const char *name, const char *path, const el_adapter_put_options *options,
                                uint64_t *generation, el_error *err);
/** Registers every adapter in `dir`, without reading them. A sub-folder with adapter_config.json and weights is named
 * after the folder, a *.gguf file after its stem. A sub-folder without them is looked into, and what it holds is named
 * "sub-folder/name". A hub cache's models--ORG--NAME is its snapshot, named "ORG/NAME".
 *
 * An adapter whose name cannot be used or is taken (the first one keeps it), and what looks like an adapter and is
 * none, is logged, counted as failed, and listed by el_adapter_list_refused(). From then on the directory is watched:
 * what is put there is offered, what is removed no longer is, and what has changed is loaded anew. `n_added` and
 * `n_failed` may be NULL. */
EL_API el_status el_adapter_add_dir(el_engine *e, const char *dir, size_t *n_added, size_t *n_failed, el_error *err);
/** Registers an adapter of this rank with random weights on all linear layers, for benchmarks. */
EL_API el_status el_adapter_add_random(el_engine *e, const char *name, int rank, uint64_t seed, el_error *err);
/** Takes no new requests for the adapter. Running ones finish; then its memory is released. An adapter that a
 * directory still has comes back with the next change in there. EL_ERR_NOT_FOUND */
EL_API el_status el_adapter_remove(el_engine *e, const char *name, el_error *err);
/** The same if the adapter has the generation `expected`, or with EL_ANY_GENERATION. EL_ERR_CONFLICT: it has another.
 */
EL_API el_status el_adapter_remove_expected(el_engine *e, const char *name, uint64_t expected, el_error *err);
/** Pins an adapter, or no longer. A pinned one is loaded as soon as there is room, and stays in memory whether requests
 * want it or not; files that take its place are pinned too. The adapter is read, to know its size. Pins
 * may not take all memory. EL_ERR_NO_MEMORY, with the figures: the KV cache of one sequence of ctx_size, and one
 * adapter, would no longer fit. */
EL_API el_status el_adapter_pin(el_engine *e, const char *name, bool pinned, el_error *err);

/** Waits until the router knows the examples of all adapters (examples.jsonl in their folders), at most timeout_ms
 * milliseconds (-1: forever). EL_ERR_BUSY: it does not yet. Without a router there is nothing to wait for. */
EL_API el_status el_router_wait(el_engine *e, int timeout_ms, el_error *err);

/** What a look through the directories has found. */
typedef struct el_rescan_result {
  size_t n_added;   /**< adapters that are new */
  size_t n_changed; /**< adapters whose files have changed */
  size_t n_removed; /**< adapters that are gone */
  size_t n_failed;  /**< adapters that cannot be offered */
} el_rescan_result;
/** Looks through all directories of el_adapter_add_dir() now, instead of when they report a change. `out` may be
 * NULL. */
EL_API el_status el_adapter_rescan(el_engine *e, el_rescan_result *out, el_error *err);

/** Where an adapter's weights are. */
typedef enum el_adapter_state {
  EL_ADAPTER_ON_DISK,  /**< not in memory */
  EL_ADAPTER_LOADING,  /**< being loaded */
  EL_ADAPTER_RESIDENT, /**< in memory */
  EL_ADAPTER_FAILED    /**< the last load failed; the next request tries again */
} el_adapter_state;

/** An adapter, as it was when it was asked for. */
typedef struct el_adapter_info {
  uint64_t id;            /**< from 0 on, in order of registration; the same for as long as it is offered, and never
                           * used again */
  const char *name;       /**< what requests call it */
  const char *path;       /**< its file or folder; "" for a random one */
  int rank;               /**< the largest rank of its layers; 0: it has not been read yet */
  uint64_t bytes;         /**< packed size in memory; 0: it has not been loaded yet */
  int64_t created;        /**< when it was added, seconds since the epoch */
  el_adapter_state state; /**< where its weights are */
  uint64_t requests;      /**< requests that have asked for it, or that the router has given to it */
  bool in_router;         /**< the router may choose it: it was trained with it, or has read its examples */
  uint64_t generation;    /**< of its files: it grows when others take their place, in whatever way. No two files have
                           * the same while the engine is open, even where a name is removed and added again. */
  uint64_t prompt_tokens; /**< tokens of prompts, of requests that have ended. Like the next four figures it counts
                           * since the adapter was added, over all generations. */
  uint64_t generated_tokens;  /**< generated tokens, of requests that have ended */
  uint64_t hits;              /**< requests that found it in memory */
  uint64_t loads;             /**< loads that succeeded */
  uint64_t loads_failed;      /**< loads that failed */
  double load_ms;             /**< how long the last load that succeeded took, milliseconds; 0: none has */
  int64_t last_used;          /**< when a request last began or ended, seconds since the epoch; 0: none has */
  const char *failure;        /**< why the last failed load of these files failed; NULL: none has */
  const char *failure_detail; /**< the end of `failure` that a tenant may be told, as in el_error; may be empty */
  int64_t failed_at;          /**< when that was, seconds since the epoch */
  bool pinned;                /**< it stays in memory */
  const char *description;    /**< its preset's; NULL: none */
  int activated;              /**< 1: an activated adapter (aLoRA), which begins with its invocation; 0: another; -1: it
                               * has not been read yet */
  const int32_t *invocation;  /**< [n_invocation] the tokens of its invocation */
  size_t n_invocation;        /**< number of these tokens */
  int own_tokens;             /**< tokens that it has beside the base's; -1: nobody has asked for them yet */
  const char *const *aliases; /**< [n_aliases] other names by which requests get it */
  size_t n_aliases;           /**< number of aliases */
} el_adapter_info;
/** All adapters in order of registration. *out is an array of *n in one block; free it with el_free(). */
EL_API el_status el_adapter_list(el_engine *e, el_adapter_info **out, size_t *n, el_error *err);
/** As el_adapter_list(), of those alone that are in memory or being loaded. */
EL_API el_status el_adapter_list_resident(el_engine *e, el_adapter_info **out, size_t *n, el_error *err);
/** One adapter by name or alias, in one block; free it with el_free(). EL_ERR_NOT_FOUND */
EL_API el_status el_adapter_get(el_engine *e, const char *name, el_adapter_info **out, el_error *err);
/** One adapter by id, in one block; free it with el_free(). EL_ERR_NOT_FOUND */
EL_API el_status el_adapter_get_by_id(el_engine *e, uint64_t id, el_adapter_info **out, el_error *err);
/** The prompts that an adapter brings along as examples, EL_MAX_EXAMPLES at most, in the order of its examples.jsonl,
 * which this call reads. *out is an array of *n in one block; free it with el_free(). None is no error.
 * EL_ERR_NOT_FOUND: there is no such adapter; EL_ERR_FORMAT: the message says where the file is wrong. */
EL_API el_status el_adapter_examples(el_engine *e, const char *name, char ***out, size_t *n, el_error *err);

/** What a directory holds that cannot be offered. */
typedef struct el_adapter_refusal {
  const char *name;   /**< the name that it would have */
  const char *path;   /**< its file or folder */
  const char *reason; /**< why not */
  const char *detail; /**< the end of `reason` that a tenant may be told, as in el_error; may be empty */
} el_adapter_refusal;
/** What the directories hold that cannot be offered. *out is an array of *n in one block; free it with el_free(). */
EL_API el_status el_adapter_list_refused(const el_engine *e, el_adapter_refusal **out, size_t *n, el_error *err);

/** An adapter as it is now, kept for a request: what its preset says, and the weights that answer, are of one time,
 * whatever happens to its files in between. */
typedef struct el_held_adapter {
  const char *name;                      /**< its own name, also where an alias was asked for; or the base's */
  uint64_t generation;                   /**< 0: the base */
  const el_preset *preset;               /**< NULL: it has none */
  const el_chat_template *chat_template; /**< the preset's; NULL: the tokenizer's own */
  const el_tokenizer *tokenizer; /**< for all text of a request to it, in both directions: the engine's, or that of
                                  * an adapter that was trained with tokens, and perhaps with a chat template, of
                                  * its own. Valid as long as the adapter is held. */
} el_held_adapter;
/** Holds an adapter by name or alias, or the base by its name. Release *out with el_adapter_release().
 * EL_ERR_NOT_FOUND: there is none; EL_ERR_FORMAT: its preset, or what it says of tokens, is wrong. */
EL_API el_status el_adapter_hold(el_engine *e, const char *name, const el_held_adapter **out, el_error *err);
/** Releases what el_adapter_hold() gave. NULL is allowed. */
EL_API void el_adapter_release(el_engine *e, const el_held_adapter *held);

/** @} */
/* ============================================================================================== */
/** @defgroup constraints Constraints
 * What an answer's text must be: structured output.
 * @{ */

/** A compiled constraint. It never changes: threads and requests share it freely. The engine keeps what was
 * compiled by its source, so that opening the same source again costs next to nothing. */
typedef struct el_constraint el_constraint;

/** What the answer's text must be. */
typedef enum el_constraint_type {
  EL_CONSTRAINT_JSON_OBJECT, /**< any JSON object */
  EL_CONSTRAINT_JSON_SCHEMA, /**< `text`: a JSON Schema, drafts 7 to 2020-12 */
  EL_CONSTRAINT_REGEX,       /**< `text`: a regular expression that the whole answer matches */
  EL_CONSTRAINT_GRAMMAR,     /**< `text`: GBNF, as llama.cpp has it, with a rule `root` */
  EL_CONSTRAINT_CHOICE,      /**< one of `choices` */
  EL_CONSTRAINT_TAGS         /**< free text, with `tags` in it */
} el_constraint_type;

/** What follows a trigger: `begin`, then what `content` allows, then `end`. */
typedef struct el_constraint_tag {
  const char *begin;          /**< begins with one of the triggers, if there are any */
  const char *end;            /**< may be empty */
  el_constraint_type content; /**< any but TAGS and CHOICE */
  const char *text;           /**< [len] as of el_constraint_source */
  size_t len;                 /**< bytes */
} el_constraint_tag;

/** What to compile. All its texts together have EL_MAX_CONSTRAINT_BYTES at most. */
typedef struct el_constraint_source {
  el_constraint_type type;       /**< which of the following counts */
  const char *text;              /**< [len] UTF-8: JSON_SCHEMA, REGEX, GRAMMAR */
  size_t len;                    /**< bytes */
  const char *const *choices;    /**< [n_choices] CHOICE: texts, none empty */
  size_t n_choices;              /**< 1 to EL_MAX_CHOICES */
  const el_constraint_tag *tags; /**< [n_tags] TAGS: text is free until one of the triggers occurs; then it is one of
                                  * the tags that begin with it, and after that it is free again */
  size_t n_tags;                 /**< 1 to EL_MAX_TAGS */
  const char *const *triggers;   /**< [n_triggers] TAGS */
  size_t n_triggers;             /**< EL_MAX_TAGS at most; 0: nothing is free, the answer is tags alone */
  bool at_least_one;             /**< TAGS: the answer cannot end before a tag has */
  bool stop_after_first;         /**< TAGS: the answer ends with the first tag */
  const int32_t *shown_tokens;   /**< [n_shown_tokens] control tokens that are text to the constraint. The request must
                                  * have   them in its shown_tokens. All others end the answer where it may end, or are
                                  * never   allowed. */
  size_t n_shown_tokens;         /**< EL_MAX_SHOWN_TOKENS at most */
} el_constraint_source;

/** Compiles a constraint, or finds it compiled. Close *out with el_constraint_close().
 *
 * EL_ERR_INVALID: the message says what is wrong with the source, and where. EL_ERR_UNSUPPORTED: it uses what
 * edgelora does not have, by name. EL_ERR_TOO_LONG: it is too large. */
EL_API el_status el_constraint_open(el_engine *e, const el_constraint_source *source, const el_constraint **out,
                                    el_error *err);
/** Gives a constraint back. Requests that were submitted with it keep it for themselves. NULL is allowed. */
EL_API void el_constraint_close(el_engine *e, const el_constraint *constraint);

/** @} */
/* ============================================================================================== */
/** @defgroup requests Requests
 * A request is a prompt and how to answer it; its events tell the answer as it comes.
 * @{ */

/** Why a request has ended. */
typedef enum el_finish {
  EL_FINISH_STOP,      /**< an end-of-generation token, a stop token or a stop string */
  EL_FINISH_LENGTH,    /**< max_tokens or the context is used up */
  EL_FINISH_CANCELLED, /**< el_cancel(), or the engine is closing */
  EL_FINISH_ERROR      /**< see the event's `error` */
} el_finish;

/** How likely a token was. */
typedef struct el_token_logprob {
  int32_t token; /**< its id */
  float logprob; /**< natural logarithm of its probability in the model's own distribution, before penalties and
                  * temperature */
} el_token_logprob;

/** What the router expects of an adapter for a prompt. */
typedef struct el_candidate {
  const char *name; /**< the adapter's, or the base's */
  float score;      /**< the expected score of its answer, 0 to 1 */
  bool resident;    /**< in memory or being loaded; the base always is */
} el_candidate;

/** What an event tells. */
typedef enum el_event_type {
  EL_EVENT_DECISION,  /**< only with EL_BY_ROUTER: the chosen adapter, once, before all other events, when the request
                       * starts with it. If it cannot be loaded or is too large, the next one is taken first. */
  EL_EVENT_PROMPT,    /**< only with prompt_logprobs: the prompt's log-probabilities, once, before the first token */
  EL_EVENT_EMBEDDING, /**< only with embed: the vector, once */
  EL_EVENT_TOKEN,     /**< one generated token */
  EL_EVENT_DONE       /**< the last event of every request; it comes exactly once */
} el_event_type;

/** EL_EVENT_DECISION: the adapter that the router decided for. */
typedef struct el_event_decision {
  const char *adapter;            /**< its name; the base's when that was chosen */
  const el_candidate *candidates; /**< [n_candidates] the n_scores best of those that can be used, best first; the
                                   * chosen one is among the first router_top_k */
  size_t n_candidates;            /**< number of candidates */
  double ms;                      /**< from the slot to the decision, milliseconds */
} el_event_decision;

/** EL_EVENT_PROMPT: log-probabilities of the prompt's tokens. */
typedef struct el_event_prompt {
  const float *logprobs; /**< [n] log p(token i | the tokens before i); [0] is 0 */
  size_t n;              /**< tokens of the prompt */
  const el_token_logprob
      *top;     /**< [n, n_top] the most likely tokens in the place of each, best first; nothing at [0] */
  size_t n_top; /**< el_request.prompt_top_logprobs */
} el_event_prompt;

/** EL_EVENT_EMBEDDING: the vector of the prompt. */
typedef struct el_event_embedding {
  const float *values; /**< [n] finite, not normalised */
  size_t n;            /**< el_model_info.n_embd */
} el_event_embedding;

/** EL_EVENT_TOKEN: a generated token. */
typedef struct el_event_token {
  int32_t id;                  /**< its id */
  float logprob;               /**< with el_request.logprobs: how likely it was */
  const el_token_logprob *top; /**< [n_top] with el_request.logprobs: the most likely tokens, best first */
  size_t n_top;                /**< el_request.top_logprobs */
} el_event_token;

/** EL_EVENT_DONE: how the request has ended. */
typedef struct el_event_done {
  el_event_token token;  /**< the token that ended the generation (EOS, or one of stop_tokens), which is no TOKEN
                          * event; id -1: none did */
  el_finish finish;      /**< why it has ended */
  el_error error;        /**< with EL_FINISH_ERROR: what went wrong */
  const char *adapter;   /**< with EL_FINISH_ERROR and EL_BY_ROUTER: the adapter that was chosen last and could not be
                          * used; else NULL */
  const char *stop;      /**< the stop string that matched, or NULL */
  bool stop_token;       /**< `token` is one of stop_tokens */
  int prompt_tokens;     /**< tokens of the prompt */
  int completion_tokens; /**< tokens of the answer */
  int cached_tokens;     /**< of prompt_tokens: not computed, as another request had computed them */
  int base_tokens;       /**< of prompt_tokens: computed by the base, as the adapter is an activated one (aLoRA), which
                          * begins with its invocation; 0: any other adapter */
  bool not_invoked;      /**< the adapter's invocation is not in the prompt: the base has answered */
  int draft_tokens;      /**< tokens that were guessed ahead and computed */
  int draft_tokens_accepted; /**< of them: those that came */
  double queued_ms;          /**< time that it waited for a slot, milliseconds */
  double load_ms;            /**< of queued_ms: its adapter was being loaded; 0: it was in memory */
  double prompt_ms;          /**< time from there to the first token, milliseconds */
  double decode_ms;          /**< time from the first token to the end, milliseconds */
} el_event_done;

/** Something that happened to a request. What it points to is valid during the callback only; of an event from
 * el_next_event(), as long as it says. */
typedef struct el_event {
  el_event_type type; /**< which member of the union counts */
  uint64_t request;   /**< the request's id, from el_submit() */
  void *user;         /**< el_request.user */
  const char *text; /**< [text_len] TOKEN and DONE: text that became certain with this event, whole UTF-8 characters and
                     * nothing of a stop string. The texts of all events join to the answer. It does not end in NUL. */
  size_t text_len;  /**< bytes; may be 0, and is 0 with all other events */
  union {
    el_event_decision decision;   /**< EL_EVENT_DECISION */
    el_event_prompt prompt;       /**< EL_EVENT_PROMPT */
    el_event_embedding embedding; /**< EL_EVENT_EMBEDDING */
    el_event_token token;         /**< EL_EVENT_TOKEN */
    el_event_done done;           /**< EL_EVENT_DONE */
  };
} el_event;
/** Receives the events of a request, in order, on the engine thread. It must be short, must not block, and must not
 * call el_engine_close(). */
typedef void (*el_event_fn)(const el_event *event);

/** One of several adapters that are applied together, each times its scale: W' = W + sum of scale * B * A. */
typedef struct el_adapter_scale {
  const char *adapter; /**< its name or alias */
  float scale;         /**< finite, EL_MAX_SCALE in magnitude at most; 0: as if it were not there */
} el_adapter_scale;

/** Who answers a request: one of four ways. */
typedef enum el_adapter_by {
  EL_BY_NAME,   /**< an adapter by its name or alias, or the base */
  EL_BY_HOLD,   /**< one that el_adapter_hold() gave, as it was then */
  EL_BY_SCALES, /**< several adapters together */
  EL_BY_ROUTER  /**< whom the router decides for */
} el_adapter_by;

/** Who answers a request. */
typedef struct el_adapter_selection {
  el_adapter_by by; /**< which member of the union counts */
  union {
    const char *name;            /**< EL_BY_NAME. NULL, "" or the base's name: the base */
    const el_held_adapter *held; /**< EL_BY_HOLD. It need not be held longer than el_submit() takes. */
    /** What these adapters amount to is loaded as one adapter and kept as one: its ranks are theirs added up. */
    struct {
      const el_adapter_scale *list; /**< [n] no adapter twice */
      size_t n;                     /**< EL_MAX_COMBINED at most; 0: the base alone */
    } scales;                       /**< EL_BY_SCALES */
    /** The router decides among all adapters and the base, or among those that `candidates` allows. */
    struct {
      const char *const *candidates; /**< [n_candidates] names, the base's included, or patterns that end in an asterisk
                                      * ("tenant/" and one). A name that is not there is no error, as long as something
                                      * is. */
      size_t n_candidates;           /**< EL_MAX_CANDIDATES at most; 0: all */
      int n_scores;                  /**< candidates that the DECISION event lists, EL_MAX_SCORES at most; 0: none */
      bool only_decide;              /**< the request ends after the DECISION event, with EL_FINISH_LENGTH */
    } router;                        /**< EL_BY_ROUTER */
  };
} el_adapter_selection;

/** A prompt and how to answer it. Begin with el_request_default(). el_submit() copies everything that it points to. */
typedef struct el_request {
  el_adapter_selection adapter; /**< who answers */
  unsigned preset_fields;  /**< EL_PRESET_...: fields that the request leaves to the preset of whoever answers. Where
                            * that has one, it counts, else what is said here. With EL_BY_ROUTER it is the chosen
                            * adapter's, whose max_tokens can only lower what is said here; with EL_BY_SCALES it is
                            * the base's. */
  uint64_t seed_offset;    /**< added to the seed, whoever gives it: of several answers to a prompt each has its own */
  const int32_t *prompt;   /**< [n_prompt] token ids */
  size_t n_prompt;         /**< 1 to el_model_info.ctx_size; EL_ERR_TOO_LONG: more */
  size_t focus_begin;      /**< the first token of those that say what is wanted, such as the last message of the
                            * user: what the router reads */
  size_t focus_end;        /**< behind the last of them; 0: the router reads all of the prompt */
  int max_tokens;          /**< tokens to generate at most; 0: the prompt alone is computed; -1: until the context is
                            * full */
  el_sampling sampling;    /**< how tokens are drawn */
  const char *const *stop; /**< [n_stop] stop strings: they end the answer, and are not part of it */
  size_t n_stop;           /**< EL_MAX_STOPS at most */
  const int32_t *stop_tokens;  /**< [n_stop_tokens] tokens that end the answer as EOS does, with ignore_eos too */
  size_t n_stop_tokens;        /**< EL_MAX_STOP_TOKENS at most */
  bool include_stop;           /**< the stop string that ended the text is part of it, and so is a stop token's text */
  int min_tokens;              /**< tokens that are generated before EOS and stop_tokens may come; stop strings count in
                                * what comes after them */
  bool ignore_eos;             /**< EOS does not end the answer */
  const int32_t *shown_tokens; /**< [n_shown_tokens] control tokens that are part of the text; others are not */
  size_t n_shown_tokens;       /**< EL_MAX_SHOWN_TOKENS at most */
  bool show_special;           /**< all control tokens are part of the text */
  bool logprobs;               /**< TOKEN events tell how likely tokens were */
  int top_logprobs;            /**< with logprobs: alternatives for each token, EL_MAX_TOP_LOGPROBS at most */
  bool prompt_logprobs;        /**< a PROMPT event tells how likely the prompt's tokens were */
  size_t prompt_logprobs_from; /**< of the tokens from this one on; those before are told as 0, and cost no logits */
  int prompt_top_logprobs;     /**< with prompt_logprobs: alternatives for each token of the prompt, EL_MAX_TOP_LOGPROBS
                                * at most */
  el_embed embed;              /**< instead of text, a vector of the prompt: an EMBEDDING event, then EL_FINISH_LENGTH.
                                * max_tokens, sampling and stop strings do not count. The bits are the same whoever
                                * shares the steps. Not with EL_BY_ROUTER, nor with log-probabilities. The mean cannot use
                                * what other requests have computed, but what it computes is of use to them. */
  uint64_t prefix_domain; /**< requests with the same number find each other's prefixes in the prefix cache. Requests of
                           * different tenants get different ones; otherwise a tenant could tell from
                           * cached_tokens, or from the time to the first token, what another has asked. Default 0:
                           * all that say nothing share theirs. */
  uint64_t tenant;        /**< whose turn it is: requests of one tenant start in order of arrival; several tenants take
                           * turns, by the rows that each has had, divided by its weight. The first waiting request
                           * of a tenant that has not had more than its share is behind at most one request of each
                           * other tenant. Default 0: all that say nothing are one tenant. */
  int weight;             /**< the tenant's weight, 1 to EL_MAX_WEIGHT; 0: EL_WEIGHT_NORMAL. What the last request of a
                           * tenant says counts for all of them. */
  int speculate;          /**< tokens that the answer may guess ahead at most; -1, the default: as the engine's options
                           * say; 0: none. The answer is the same. */
  const el_constraint *constraint; /**< the answer's text is what this allows: tokens that would lead out of it are not
                                    * drawn, and the answer ends when it is complete (EL_FINISH_STOP). Where no token
                                    * goes on, it ends with EL_FINISH_ERROR. NULL: any text */
  el_event_fn on_event;            /**< receives the events; NULL: they queue up for el_next_event() */
  void *user;                      /**< el_event.user */
} el_request;

/** A request to the base, without a prompt: greedy, max_tokens -1. */
EL_API el_request el_request_default(void);

/** Weights of a tenant. */
enum {
  EL_WEIGHT_LOW = 1,    /**< a quarter of the usual share */
  EL_WEIGHT_NORMAL = 4, /**< the usual share */
  EL_WEIGHT_HIGH = 16   /**< four times the usual share */
};
/** Queues a request. *id is unique in this engine. What the request alone decides is returned here, not as an event:
 * EL_ERR_NOT_FOUND (no such adapter), EL_ERR_TOO_LONG (the prompt), EL_ERR_INVALID and EL_ERR_UNSUPPORTED (a field; see
 * el_error.field). A request whose adapter cannot be loaded ends with EL_FINISH_ERROR and the reason.
 *
 * Requests of a tenant start in order of arrival, and tenants take turns. But while one waits for its adapter,
 * others whose adapters are in memory may go first: at most EL_MAX_OVERTAKEN of those whose turn is later.
 *
 * EL_ERR_BUSY: n_slots and max_queue requests are there. A tenant that has fewer than n_slots of them may still
 * have that many, until there are twice as many in all; its first one is always taken. */
EL_API el_status el_submit(el_engine *e, const el_request *request, uint64_t *id, el_error *err);
/** Ends a request in whatever state it is; its DONE event follows. A finished or unknown id is no error. */
EL_API void el_cancel(el_engine *e, uint64_t id);
/** The next event of a request without on_event. Waits for it at most timeout_ms milliseconds (-1: forever); in a
 * callback it does not wait. What *out points to is valid until the next call for this id. After DONE it is also
 * valid no longer than until 256 other requests have been taken to their DONE, or until the engine closes.
 *
 * Events that nobody takes are kept, at most those of a request's max_tokens. Of requests that have ended so,
 * n_slots + max_queue are kept; then the oldest is forgotten.
 *
 * EL_ERR_BUSY: none came in time. EL_ERR_NOT_FOUND: there is no such request, or its DONE event has been taken. */
EL_API el_status el_next_event(el_engine *e, uint64_t id, int timeout_ms, el_event *out);

/** What a request is doing. */
typedef enum el_phase {
  EL_PHASE_QUEUED,    /**< it waits for a slot */
  EL_PHASE_DECISION,  /**< the router reads the prompt */
  EL_PHASE_LOADING,   /**< it waits for its adapter */
  EL_PHASE_PROMPT,    /**< its prompt is computed */
  EL_PHASE_GENERATION /**< its answer is generated */
} el_phase;

/** A request that waits or runs, as it was when it was asked for. */
typedef struct el_request_info {
  uint64_t id;          /**< as of el_submit() */
  const char *adapter;  /**< its adapter's name; "": the base */
  el_phase phase;       /**< what it is doing */
  int slot;             /**< 0 to n_slots - 1, its own while it runs; -1: it waits */
  int prompt_tokens;    /**< tokens of its prompt */
  int computed_tokens;  /**< tokens that are computed, of the prompt and of the answer */
  int generated_tokens; /**< tokens of its answer so far */
  int max_tokens;       /**< tokens that its answer may have */
  int overtaken;        /**< requests of a later turn that have started before it */
  double age_ms;        /**< time since el_submit(), milliseconds */
} el_request_info;
/** The requests that wait or run, in order of id. *out is an array of *n in one block; free it with el_free(). */
EL_API el_status el_request_list(el_engine *e, el_request_info **out, size_t *n, el_error *err);

/** @} */
/* ============================================================================================== */
/** @defgroup stats Statistics
 * @{ */

enum { EL_LOAD_BUCKETS = 11 /**< buckets of el_stats.load_histogram */ };
/** [EL_LOAD_BUCKETS - 1] upper limits of the buckets of el_stats.load_histogram, milliseconds; the last bucket has
 * none. It is static. */
EL_API const double *el_load_bucket_ms(void);

/** What an engine has done since it was opened, and what it has now. Counters only grow. */
typedef struct el_stats {
  uint64_t steps;                /**< forward passes */
  uint64_t rows;                 /**< rows of all steps */
  uint64_t prompt_tokens;        /**< tokens of prompts, cached ones included */
  uint64_t generated_tokens;     /**< tokens of answers */
  uint64_t requests_submitted;   /**< requests that el_submit() took */
  uint64_t requests_done;        /**< requests that ended with EL_FINISH_STOP or EL_FINISH_LENGTH */
  uint64_t requests_cancelled;   /**< requests that ended with EL_FINISH_CANCELLED */
  uint64_t requests_failed;      /**< requests that ended with EL_FINISH_ERROR */
  uint64_t requests_not_invoked; /**< of the done ones: answered by the base, as the adapter's invocation was missing */
  int slots_busy;                /**< now: sequences that run */
  int queued;                    /**< now: requests that wait */
  uint64_t kv_pages;             /**< pages that the KV cache may have */
  uint64_t kv_pages_used;        /**< now: pages that sequences have */
  uint64_t kv_pages_cached; /**< now: pages that no sequence has, kept for sequences to come; they are given up when
                             * room is wanted */
  uint64_t cached_tokens;   /**< tokens that were not computed, as the prefix cache had them */
  int page_tokens;          /**< tokens of one KV page */
  double step_seconds;      /**< time inside forward passes */
  uint64_t preemptions;     /**< times that a sequence gave up its pages for an older one */
  uint64_t draft_tokens;    /**< tokens that were guessed ahead and computed */
  uint64_t draft_tokens_accepted; /**< of them: those that came */

  uint64_t kv_windowed_used;   /**< now: pages in use, of layers that see a window alone, where a model has such beside
                                * others. kv_pages_used and kv_pages_cached are then the others', and kv_pages is what
                                * one long sequence may have of those. */
  uint64_t kv_windowed_cached; /**< now: such pages, cached */

  uint64_t decisions;          /**< requests that the router decided */
  uint64_t decisions_base;     /**< of them: for the base */
  uint64_t decisions_resident; /**< of them: for another than the best, as it was in memory */
  uint64_t decision_tokens;    /**< tokens that the router has read */
  double decision_seconds;     /**< time from the slot to the decision, summed up */
  uint64_t adapters_in_router; /**< now: adapters that the router may decide for */

  uint64_t adapters;                        /**< now: adapters offered */
  uint64_t adapters_resident;               /**< now: adapters in memory */
  uint64_t adapter_hits;                    /**< requests whose adapter was in memory when they were first looked at */
  uint64_t adapter_misses;                  /**< requests whose adapter was not */
  uint64_t adapter_evictions;               /**< adapters that left memory for something else */
  uint64_t adapter_loads;                   /**< loads that succeeded; several misses may share one */
  uint64_t adapter_loads_failed;            /**< loads that failed */
  double load_seconds;                      /**< time of the loads that succeeded */
  uint64_t load_histogram[EL_LOAD_BUCKETS]; /**< the loads that succeeded, by time: see el_load_bucket_ms() */
  uint64_t pool_blocks;                     /**< blocks of the pool */
  uint64_t pool_blocks_kv;                  /**< now: blocks of the KV cache */
  uint64_t pool_blocks_adapters;            /**< now: blocks of adapters, loads under way included */
  uint64_t pool_blocks_idle;                /**< now: of these, blocks of adapters that no running request uses */
} el_stats;
/** Fills *out. */
EL_API void el_engine_stats(el_engine *e, el_stats *out);

/** @} */
/* ============================================================================================== */
/** @defgroup router Router
 * A router learns from a table how well each adapter, and the base, answers a prompt, and decides for
 * requests with EL_BY_ROUTER. The table is CSV with the columns `prompt`, `task` (optional) and
 * `score_NAME` for each candidate (0 to 1; score_base is the base's), or JSONL with {"prompt": ...,
 * "task": ..., "scores": {NAME: ...}} in each line.
 *
 * Training and evaluation load the model themselves, and may compute for minutes.
 * @{ */

/** Receives `data [len]`, text; returns false to stop. */
typedef bool (*el_write_fn)(void *user, const char *data, size_t len);
/** Receives what is being done (such as "reading prompts"), and how much of it. */
typedef void (*el_router_progress_fn)(void *user, const char *what, size_t done, size_t total);

/** What to train or to evaluate. Begin with el_router_options_default(). */
typedef struct el_router_options {
  const char *model_path;         /**< the base, as in el_engine_options; required */
  const char *router_path;        /**< the router to write, or to read; required */
  const char *table_path;         /**< the table to learn from, or to evaluate on; required */
  const char *isa;                /**< as of el_engine_options */
  int n_threads;                  /**< as of el_engine_options */
  el_router_progress_fn progress; /**< NULL: none */
  void *progress_user;            /**< passed to `progress` */
  bool json;                      /**< el_router_eval(): write one JSON object instead of text */
  const char *examples_path; /**< el_router_eval(): score candidates by examples alone, the first five prompts of this
                              * table that are each one's own. NULL: by what was trained */
  const char *valid_path;    /**< el_router_train(): the table on which layer, pooling and penalty are validated;
                              * NULL: a fifth of `table_path` */
  const char *lora_path;     /**< el_router_train(): an adapter to read prompts with; it goes into the router's file.
                              * NULL: none */
  uint64_t seed;             /**< el_router_train(): how rows are drawn for folds and examples */
  int max_tokens;            /**< el_router_train(): tokens to read of a prompt, EL_MIN_ROUTER_TOKENS to
                              * EL_MAX_ROUTER_TOKENS; default 256 */
  int max_depth;             /**< el_router_train(): layers that prompts may go through; default 0: a quarter of them */
  bool no_refit;             /**< el_router_train(): keep the head that was validated; else it is fitted to the
                              * validation part too in the end */
} el_router_options;
/** Defaults for everything but the three paths. */
EL_API el_router_options el_router_options_default(void);

/** Trains a router: writes router_path, and a report to `write`. The same table, options and instruction set give
 * the same router. */
EL_API el_status el_router_train(const el_router_options *o, el_write_fn write, void *user, el_error *err);
/** Writes what the router's decisions are worth on a table, beside simpler ones. */
EL_API el_status el_router_eval(const el_router_options *o, el_write_fn write, void *user, el_error *err);
/** Writes what the router's file at `path` holds. Needs no model. */
EL_API el_status el_router_describe(const char *path, el_write_fn write, void *user, el_error *err);

/** @} */
/* ============================================================================================== */
/** @defgroup checks Checks of files
 * @{ */

/** How to check an adapter. Begin with el_adapter_check_options_default(). */
typedef struct el_adapter_check_options {
  const char *model_path;   /**< the base, as in el_engine_options; required */
  const char *isa;          /**< as of el_engine_options */
  const char *adapter_type; /**< as of el_engine_options */
  int n_threads;            /**< as of el_engine_options */
} el_adapter_check_options;
/** Defaults for everything but model_path. */
EL_API el_adapter_check_options el_adapter_check_options_default(void);
/** Writes what the adapter at `path` is, which matrices it touches, the memory that it takes, and what it changes: how
 * far it moves logits, and how far its distributions diverge, at some positions of texts that are always the same. It
 * says so when an adapter changes nothing. What cannot be served is an error, as of el_adapter_add(). It loads the
 * model, so it takes seconds. */
EL_API el_status el_adapter_check(const el_adapter_check_options *o, const char *path, el_write_fn write, void *user,
                                  el_error *err);

/** Writes a description of a GGUF file, a safetensors file or a PEFT adapter's folder, as text. */
EL_API el_status el_inspect(const char *path, el_write_fn write, void *user, el_error *err);

/** @} */

#ifdef __cplusplus
}
#endif
#endif
