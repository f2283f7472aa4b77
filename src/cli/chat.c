#include "cli/chat.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/generate.h"
#include "cli/open.h"
#include "cli/signals.h"

enum { SHOWN_SCORES = 3 }; /* of what the router thought, with --verbose */

/* Bytes with an owner; grows. */
typedef struct bytes {
  char *data; /* NUL-terminated, or NULL when empty */
  size_t len;
} bytes;

static bool bytes_append(bytes *t, const char *data, size_t len) {
  char *grown = realloc(t->data, t->len + len + 1);
  if (!grown) return false;
  memcpy(grown + t->len, data, len);
  t->data = grown;
  t->len += len;
  grown[t->len] = 0;
  return true;
}

static void bytes_clear(bytes *t) {
  free(t->data);
  *t = (bytes){0};
}

typedef struct chat {
  const el_cli_chat_options *o;
  char *adapter;        /* NULL: the base */
  bool routed;          /* the adapter is "auto", and no adapter has that name */
  el_message *messages; /* contents are ours */
  size_t n, n_system;   /* n_system: 1 if the first message is the system message, otherwise 0 */
  bytes pending;        /* read from the terminal, not yet used */
} chat;

static bool add_message(chat *c, const char *role, const char *content) {
  el_message *grown = realloc(c->messages, (c->n + 1) * sizeof *grown);
  if (!grown) return false;
  c->messages = grown;
  char *copy = strdup(content);
  if (!copy) return false;
  c->messages[c->n++] = (el_message){role, copy};
  return true;
}

/* Removes the messages from `first` up to `end`. */
static void drop_messages(chat *c, size_t first, size_t end) {
  if (first == end) return;
  for (size_t i = first; i < end; i++) free((char *)c->messages[i].content);
  memmove(c->messages + first, c->messages + end, (c->n - end) * sizeof *c->messages);
  c->n -= end - first;
}

el_adapter_selection el_cli_selection(const char *adapter, bool routed) {
  if (!routed) return (el_adapter_selection){.by = EL_BY_NAME, .name = adapter};
  return (el_adapter_selection){.by = EL_BY_ROUTER, .router.n_scores = SHOWN_SCORES};
}

el_status el_cli_hold(el_engine *e, const el_request *request, const el_held_adapter **held, const el_tokenizer **t,
                      el_error *err) {
  *held = NULL;
  *t = el_engine_tokenizer(e);
  const el_adapter_selection *who = &request->adapter;
  if (who->by == EL_BY_ROUTER || !who->name || !*who->name) return EL_OK;
  el_status status = el_adapter_hold(e, who->name, held, err);
  if (!status) *t = (*held)->tokenizer;
  return status;
}

el_status el_cli_chat_prompt(el_engine *e, const el_message *messages, size_t n, el_request *request, el_error *err) {
  int32_t *tokens;
  const el_held_adapter *held;
  const el_tokenizer *t;
  el_status status = el_cli_hold(e, request, &held, &t, err);
  if (!status)
    status = el_chat_tokenize_span(t, messages, n, true, SIZE_MAX, &tokens, &request->n_prompt, &request->focus_begin,
                                   &request->focus_end, err);
  el_adapter_release(e, held);
  if (!status) request->prompt = tokens;
  return status;
}

/* ---- answers */

/* Who answers this time. */
static void show_decision(void *user, const el_event_decision *decision) {
  fprintf(stderr, "(%s)\n", decision->adapter);
}

static bool show_text(void *user, const char *data, size_t len) {
  bytes *answer = user;
  bool shown = fwrite(data, 1, len, stdout) == len && fflush(stdout) == 0;
  return bytes_append(answer, data, len) && shown;
}

/* Generates with as much of the conversation as fits: the oldest exchange goes first. */
static el_status generate_answer(chat *c, bytes *answer, el_cli_answer *how, el_error *err) {
  for (;;) {
    el_request request = *c->o->request;
    request.adapter = el_cli_selection(c->adapter, c->routed);
    el_status status = el_cli_chat_prompt(c->o->engine, c->messages, c->n, &request, err);
    if (status) return status;
    status = el_cli_generate(c->o->engine, &request, c->o->signal_fd, show_text, show_decision, answer, how, err);
    el_free((void *)request.prompt);
    if (status != EL_ERR_TOO_LONG || c->n < c->n_system + 3) return status;
    fprintf(stderr, "(the conversation has grown too long: its oldest exchange is dropped)\n");
    drop_messages(c, c->n_system, c->n_system + 2);
  }
}

/* -1: go on; else the exit status. */
static int answer_message(chat *c, const char *line) {
  bytes text = {0};
  el_cli_answer how;
  el_error err;
  if (!add_message(c, "user", line)) return el_cli_no_memory();
  el_status status = generate_answer(c, &text, &how, &err);
  if (text.len > 0 && text.data[text.len - 1] != '\n') putchar('\n');
  fflush(stdout);
  int code = -1;
  if (status) {
    el_cli_failed(&err);
    drop_messages(c, c->n - 1, c->n);
  } else {
    if (how.signal == SIGINT) fprintf(stderr, "(stopped)\n");
    if (how.not_invoked && !c->o->quiet) fprintf(stderr, "(" EL_NOT_INVOKED_WARNING ")\n");
    if (how.signal == SIGTERM) code = EL_EXIT_SIGNAL_BASE + SIGTERM;
    if (!add_message(c, "assistant", text.data ? text.data : "")) code = el_cli_no_memory();
  }
  bytes_clear(&text);
  return code;
}

/* ---- commands */

static void print_chat_help(void) {
  fputs(
      "/adapter NAME   answer with this adapter from now on\n"
      "/adapter        list the adapters; '/adapter -' goes back to the base model, and with a router\n"
      "                '/adapter auto' lets it choose one for each message\n"
      "/reset          forget the conversation\n"
      "/quit           leave (also Ctrl-D, or Ctrl-C twice)\n"
      "Ctrl-C stops an answer. Everything else is a message to the model.\n",
      stderr);
}

static void choose_adapter(chat *c, const char *name) {
  el_adapter_info *list;
  size_t n;
  el_error err;
  if (el_adapter_list(c->o->engine, &list, &n, &err)) {
    el_cli_failed(&err);
    return;
  }
  if (!*name) {
    fprintf(stderr, "%c -  (the base model)\n", c->adapter ? ' ' : '*');
    if (c->o->has_router && el_cli_is_auto(c->o->engine, "auto"))
      fprintf(stderr, "%c auto  (one of them, for each message)\n", c->routed ? '*' : ' ');
    for (size_t i = 0; i < n; i++)
      fprintf(stderr, "%c %s\n", c->adapter && strcmp(c->adapter, list[i].name) == 0 ? '*' : ' ', list[i].name);
  } else {
    bool base = strcmp(name, "-") == 0, routed = c->o->has_router && el_cli_is_auto(c->o->engine, name);
    bool known = base || routed;
    for (size_t i = 0; i < n && !known; i++) known = strcmp(name, list[i].name) == 0;
    char *copy = base || !known ? NULL : strdup(name);
    if (!known) {
      fprintf(stderr, "there is no adapter '%s'; /adapter lists them\n", name);
    } else if (!base && !copy) {
      el_cli_no_memory();
    } else {
      free(c->adapter);
      c->adapter = copy;
      c->routed = routed;
    }
  }
  el_free(list);
}

/* Whether the chat goes on. */
static bool run_chat_command(chat *c, const char *line) {
  size_t word = strcspn(line, " \t");
  const char *argument = line + word + strspn(line + word, " \t");
  if (strncmp(line, "/quit", word) == 0 && word == 5) return false;
  if (strncmp(line, "/reset", word) == 0 && word == 6) {
    drop_messages(c, c->n_system, c->n);
  } else if (strncmp(line, "/adapter", word) == 0 && word == 8) {
    choose_adapter(c, argument);
  } else {
    if (strcmp(line, "/help") != 0) fprintf(stderr, "there is no command '%.*s'\n", (int)word, line);
    print_chat_help();
  }
  return true;
}

/* ---- the terminal */

typedef enum input { INPUT_LINE, INPUT_END, INPUT_SIGNAL, INPUT_FAILED } input;

/* Waits for a line or a signal. *line has no newline; the caller frees it. */
static input read_chat_line(chat *c, char **line, int *signal) {
  for (;;) {
    char *newline = c->pending.len ? memchr(c->pending.data, '\n', c->pending.len) : NULL;
    if (newline) {
      size_t len = (size_t)(newline - c->pending.data);
      *line = strndup(c->pending.data, len);
      if (!*line) return INPUT_FAILED;
      c->pending.len -= len + 1;
      memmove(c->pending.data, newline + 1, c->pending.len + 1);
      return INPUT_LINE;
    }
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = c->o->signal_fd, .events = POLLIN}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) return INPUT_FAILED;
    *signal = el_cli_signal_take(c->o->signal_fd, 0);
    if (*signal) {
      bytes_clear(&c->pending);
      return INPUT_SIGNAL;
    }
    if (!fds[0].revents) continue;
    char buffer[4096];
    ssize_t got = read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && errno != EINTR && errno != EAGAIN) return INPUT_FAILED;
    if (got == 0) return INPUT_END;
    if (got > 0 && !bytes_append(&c->pending, buffer, (size_t)got)) return INPUT_FAILED;
  }
}

static int run_chat(chat *c) {
  bool warned = false; /* a first Ctrl-C without an answer to stop */
  for (;;) {
    fprintf(stderr, "%s> ", c->adapter ? c->adapter : "");
    char *line = NULL;
    int signal = 0, code = -1;
    switch (read_chat_line(c, &line, &signal)) {
      case INPUT_FAILED: el_cli_error("standard input: %s", strerror(errno)); return EL_EXIT_FAILED;
      case INPUT_END: fputc('\n', stderr); return EL_EXIT_OK;
      case INPUT_SIGNAL:
        fputc('\n', stderr);
        if (warned || signal != SIGINT) return EL_EXIT_SIGNAL_BASE + signal;
        warned = true;
        fprintf(stderr, "(once more to leave)\n");
        continue;
      case INPUT_LINE: break;
    }
    warned = false;
    bool on = true;
    if (line[0] == '/')
      on = run_chat_command(c, line);
    else if (line[strspn(line, " \t\r")])
      code = answer_message(c, line);
    free(line);
    if (!on) return EL_EXIT_OK;
    if (code >= 0) return code;
  }
}

int el_cli_chat(const el_cli_chat_options *options) {
  chat c = {.o = options};
  int code = EL_EXIT_FAILED;
  if (options->adapter && !(c.adapter = strdup(options->adapter))) {
    el_cli_no_memory();
  } else if (options->system && !add_message(&c, "system", options->system)) {
    el_cli_no_memory();
  } else {
    c.n_system = c.n;
    c.routed = el_cli_is_auto(options->engine, options->adapter);
    el_model_info info;
    el_engine_info(options->engine, &info);
    fprintf(stderr, "%s. /help lists the commands.\n", info.name);
    code = run_chat(&c);
  }
  drop_messages(&c, 0, c.n);
  free(c.messages);
  free(c.adapter);
  bytes_clear(&c.pending);
  return code;
}
