/* Conversations as text, one function for each way that families build it.
 *
 * Where a template would raise an exception, this renders on: roles need not alternate, and a system message in a
 * family that has none (Gemma, the first Mistral) goes in front of the first user message, two line ends between them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tokenizer/template.h"

typedef enum el_role { SYSTEM, USER, ASSISTANT, TOOL, N_ROLES } el_role;
static const char *const ROLES[N_ROLES] = {"system", "user", "assistant", "tool"};

/* What stands before and after a content. EOS stands for the model's own. */
#define EOS "\x01"
typedef struct turn {
  const char *before, *after; /* before NULL: the family has no such role */
} turn;

typedef struct style {
  const char *name;
  turn turns[N_ROLES];
  const char *opening; /* of the answer that is asked for */
} style;

#define CHATML_TURN(role) \
  { "<|im_start|>" role "\n", "<|im_end|>\n" }
#define PHI4_TURN(role) \
  { "<|im_start|>" role "<|im_sep|>", "<|im_end|>" }
#define PHI3_TURN(role) \
  { "<|" role "|>\n", "<|end|>\n" }
#define ZEPHYR_TURN(role) \
  { "<|" role "|>\n", EOS "\n" }
#define LLAMA3_TURN(role) \
  { "<|start_header_id|>" role "<|end_header_id|>\n\n", "<|eot_id|>" }

static const style STYLES[EL_CHAT_N_FAMILIES] = {
    [EL_CHAT_CHATML] = {"ChatML",
                        {CHATML_TURN("system"), CHATML_TURN("user"), CHATML_TURN("assistant"), CHATML_TURN("tool")},
                        "<|im_start|>assistant\n"},
    [EL_CHAT_PHI4] = {"Phi 4",
                      {PHI4_TURN("system"), PHI4_TURN("user"), PHI4_TURN("assistant"), {NULL, NULL}},
                      "<|im_start|>assistant<|im_sep|>"},
    [EL_CHAT_PHI3] = {"Phi 3",
                      {PHI3_TURN("system"), PHI3_TURN("user"), PHI3_TURN("assistant"), {NULL, NULL}},
                      "<|assistant|>\n"},
    [EL_CHAT_ZEPHYR] = {"Zephyr",
                        {ZEPHYR_TURN("system"), ZEPHYR_TURN("user"), ZEPHYR_TURN("assistant"), {NULL, NULL}},
                        "<|assistant|>\n"},
    [EL_CHAT_LLAMA3] = {"Llama 3",
                        {LLAMA3_TURN("system"), LLAMA3_TURN("user"), LLAMA3_TURN("assistant"), {NULL, NULL}},
                        "<|start_header_id|>assistant<|end_header_id|>\n\n"},
    /* From here on a system message is part of a user's turn, or stands in front of all. */
    [EL_CHAT_GEMMA] = {"Gemma",
                       {{"", "\n\n"},
                        {"<start_of_turn>user\n", "<end_of_turn>\n"},
                        {"<start_of_turn>model\n", "<end_of_turn>\n"},
                        {NULL, NULL}},
                       "<start_of_turn>model\n"},
    [EL_CHAT_DEEPSEEK] = {"DeepSeek",
                          {{"", ""}, {"<｜User｜>", ""}, {"<｜Assistant｜>", "<｜end▁of▁sentence｜>"}, {NULL, NULL}},
                          "<｜Assistant｜>"},
    [EL_CHAT_LLAMA2] = {"Llama 2",
                        {{"<<SYS>>\n", "\n<</SYS>>\n\n"}, {"[INST] ", " [/INST]"}, {" ", " " EOS}, {NULL, NULL}},
                        ""},
    [EL_CHAT_MISTRAL_V0] = {"Mistral", {{"", "\n\n"}, {"[INST] ", " [/INST]"}, {"", EOS}, {NULL, NULL}}, ""},
    [EL_CHAT_MISTRAL_V1] = {"Mistral v1", {{"", "\n\n"}, {" [INST] ", " [/INST]"}, {" ", EOS}, {NULL, NULL}}, ""},
    [EL_CHAT_MISTRAL_V3] = {"Mistral v3", {{"", "\n\n"}, {"[INST] ", "[/INST]"}, {" ", EOS}, {NULL, NULL}}, ""},
    [EL_CHAT_MISTRAL_V3_TEKKEN] = {"Mistral v3 (Tekken)",
                                   {{"", "\n\n"}, {"[INST]", "[/INST]"}, {"", EOS}, {NULL, NULL}},
                                   ""},
    [EL_CHAT_MISTRAL_V7] =
        {"Mistral v7",
         {{"[SYSTEM_PROMPT] ", "[/SYSTEM_PROMPT]"}, {"[INST] ", "[/INST]"}, {" ", EOS}, {NULL, NULL}},
         ""},
};

typedef struct renderer {
  const el_template *t;
  const style *s;
  const el_message *m;
  size_t n;
  el_rendered *out;
} renderer;

/* --- writing */

static void add(renderer *r, const char *s, size_t len) {
  if (!el_buf_append(&r->out->text, s, len)) r->out->no_memory = true;
}

/* The template's own text. */
static void add_fixed(renderer *r, const char *s) {
  for (const char *eos; (eos = strchr(s, EOS[0])); s = eos + 1) {
    add(r, s, (size_t)(eos - s));
    add(r, r->t->eos_text, strlen(r->t->eos_text));
  }
  add(r, s, strlen(s));
}

static void add_content(renderer *r, el_str s) {
  el_rendered *out = r->out;
  if (s.len == 0) return;
  if (out->n_content == out->cap) {
    size_t cap = out->cap ? out->cap * 2 : 8;
    el_range *p = realloc(out->content, cap * sizeof *p);
    if (!p) {
      out->no_memory = true;
      return;
    }
    out->content = p;
    out->cap = cap;
  }
  size_t begin = out->text.len;
  add(r, s.data, s.len);
  if (!out->no_memory) out->content[out->n_content++] = (el_range){begin, out->text.len};
}

/* --- white space as Jinja's trim sees it, which is Python's */

/* Length of the white space character at s; 0: there is none. */
static size_t space_at(const char *s, size_t len) {
  const unsigned char *p = (const unsigned char *)s;
  if (len == 0) return 0;
  if ((p[0] >= 0x09 && p[0] <= 0x0d) || (p[0] >= 0x1c && p[0] <= 0x20)) return 1;
  if (len >= 2 && p[0] == 0xc2) return p[1] == 0x85 || p[1] == 0xa0 ? 2 : 0;
  if (len < 3) return 0;
  unsigned code = (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
  if ((p[0] & 0xf0) != 0xe0) return 0;
  return code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f ||
                 code == 0x205f || code == 0x3000
             ? 3
             : 0;
}

static el_str trim_right(el_str s) {
  for (size_t n = 1; n <= 3 && n <= s.len; n++) {
    if (space_at(s.data + s.len - n, n) != n) continue;
    s.len -= n;
    n = 0;
  }
  return s;
}

static el_str trim(el_str s) {
  for (size_t n; (n = space_at(s.data, s.len)) > 0;) {
    s.data += n;
    s.len -= n;
  }
  return trim_right(s);
}

/* --- messages */

/* N_ROLES: no such role. */
static el_role role_of(const el_message *m) {
  int role = 0;
  while (role < N_ROLES && strcmp(m->role, ROLES[role])) role++;
  return (el_role)role;
}

static el_str content_of(const renderer *r, const el_message *m) {
  el_str s = {m->content, strlen(m->content)};
  return r->t->trim ? trim(s) : s;
}

static void add_user_content(renderer *r, el_str s) {
  size_t begin = r->out->text.len;
  add_content(r, s);
  r->out->user = (el_range){begin, r->out->text.len};
}

static void add_turn(renderer *r, const el_message *m) {
  el_role role = role_of(m);
  const turn *around = &r->s->turns[role];
  add_fixed(r, around->before);
  (role == USER ? add_user_content : add_content)(r, content_of(r, m));
  add_fixed(r, around->after);
}

/* --- families where a message is a turn, whatever its role */

/* A run of tool messages is one turn of the user; returns how many they are. */
static size_t add_tool_responses(renderer *r, size_t i) {
  size_t end = i;
  add_fixed(r, "<|im_start|>user");
  for (; end < r->n && role_of(&r->m[end]) == TOOL; end++) {
    add_fixed(r, "\n<tool_response>\n");
    add_content(r, content_of(r, &r->m[end]));
    add_fixed(r, "\n</tool_response>");
  }
  add_fixed(r, "<|im_end|>\n");
  return end - i;
}

/* Llama 3.1 and later: a system turn is always there, with dates. Returns how many messages it took. */
static size_t add_dated_system(renderer *r) {
  bool given = role_of(&r->m[0]) == SYSTEM;
  add_fixed(r, r->s->turns[SYSTEM].before);
  add_fixed(r, "Cutting Knowledge Date: December 2023\nToday Date: ");
  add_fixed(r, r->t->date);
  add_fixed(r, "\n\n");
  if (given) add_content(r, content_of(r, &r->m[0]));
  add_fixed(r, r->s->turns[SYSTEM].after);
  return given;
}

static void render_turns(renderer *r) {
  size_t i = 0;
  if (r->t->date) {
    i = add_dated_system(r);
  } else if (r->t->system && role_of(&r->m[0]) != SYSTEM) {
    add_fixed(r, r->s->turns[SYSTEM].before);
    add_fixed(r, r->t->system);
    add_fixed(r, r->s->turns[SYSTEM].after);
  }
  while (i < r->n) {
    if (r->t->tool_responses && role_of(&r->m[i]) == TOOL)
      i += add_tool_responses(r, i);
    else
      add_turn(r, &r->m[i++]);
  }
}

/* --- families where a system message is part of a user's turn */

/* The system messages from `begin` on and before `end`; whether there are any. */
static bool add_systems(renderer *r, size_t begin, size_t end) {
  bool any = false;
  for (size_t i = begin; i < end; i++) {
    if (role_of(&r->m[i]) != SYSTEM) continue;
    any = true;
    add_fixed(r, r->s->turns[SYSTEM].before);
    add_content(r, (el_str){r->m[i].content, strlen(r->m[i].content)});
    add_fixed(r, r->s->turns[SYSTEM].after);
  }
  return any;
}

/* Messages `begin` to i are the user's and system messages before it. */
static void add_user(renderer *r, size_t begin, size_t i) {
  const turn *around = &r->s->turns[USER];
  if (r->t->bos_turns) add_fixed(r, r->t->bos_text);
  add_fixed(r, around->before);
  bool any = add_systems(r, begin, i);
  el_str s = content_of(r, &r->m[i]);
  if (any && r->t->family == EL_CHAT_LLAMA2 && r->t->trim) {
    /* Here the system message and the content are trimmed as one text. */
    s = trim_right((el_str){r->m[i].content, strlen(r->m[i].content)});
    if (s.len == 0 && !r->out->no_memory) r->out->text.len -= 2;
  }
  add_user_content(r, s);
  add_fixed(r, around->after);
}

static void add_answer(renderer *r, const el_message *m) {
  const turn *around = &r->s->turns[ASSISTANT];
  el_str s = content_of(r, m);
  add_fixed(r, around->before);
  add_content(r, r->t->family == EL_CHAT_MISTRAL_V3 ? trim(s) : s);
  add_fixed(r, around->after);
}

static size_t last_of(const renderer *r, el_role role) {
  for (size_t i = r->n; i > 0; i--)
    if (role_of(&r->m[i - 1]) == role) return i - 1;
  return r->n;
}

/* Mistral v3 puts system messages into the last turn of the user, the others into the next one. */
static el_status render_instruct(renderer *r, el_error *err) {
  bool at_end = r->t->family == EL_CHAT_MISTRAL_V3 || r->t->family == EL_CHAT_MISTRAL_V3_TEKKEN;
  size_t last_user = last_of(r, USER), last_system = last_of(r, SYSTEM), begin = 0;
  if (last_system < r->n && (last_user == r->n || (!at_end && last_user < last_system)))
    return el_fail(err, EL_ERR_INVALID,
                   "message %zu: with this model's chat template (%s) a system message needs a user message after it",
                   last_system, r->s->name);
  for (size_t i = 0; i < r->n; i++) {
    el_role role = role_of(&r->m[i]);
    if (role == USER) {
      if (at_end && i < last_user)
        add_user(r, i, i);
      else
        add_user(r, at_end ? 0 : begin, i);
      begin = i + 1;
    } else if (role == ASSISTANT) {
      add_answer(r, &r->m[i]);
    }
  }
  return EL_OK;
}

/* The last system message stands in front of all; thoughts are not repeated. */
static void render_deepseek(renderer *r) {
  size_t system = last_of(r, SYSTEM);
  if (system < r->n) add_content(r, content_of(r, &r->m[system]));
  for (size_t i = 0; i < r->n; i++) {
    el_role role = role_of(&r->m[i]);
    if (role == SYSTEM) continue;
    el_message m = r->m[i];
    if (role == ASSISTANT && r->t->drop_thoughts)
      for (const char *end; (end = strstr(m.content, "</think>"));) m.content = end + strlen("</think>");
    add_turn(r, &m);
  }
}

/* --- */

static el_status check(const renderer *r, el_error *err) {
  if (r->n == 0) return el_fail(err, EL_ERR_INVALID, "a conversation needs at least one message");
  for (size_t i = 0; i < r->n; i++) {
    const el_message *m = &r->m[i];
    if (!m->role || !m->content)
      return el_fail(err, EL_ERR_INVALID, "message %zu has no %s", i, m->role ? "content" : "role");
    char show[EL_SHOW];
    el_role role = role_of(m);
    if (role == N_ROLES)
      return el_fail(err, EL_ERR_INVALID, "message %zu: role '%s' is not one of system, user, assistant, tool", i,
                     el_str_show((el_str){m->role, strlen(m->role)}, show, sizeof show));
    if (!r->s->turns[role].before)
      return el_fail(err, EL_ERR_INVALID, "message %zu: this model's chat template (%s) has no role '%s'", i,
                     r->s->name, m->role);
  }
  return EL_OK;
}

el_status el_template_render(const el_template *t, const el_message *messages, size_t n, bool add_generation_prompt,
                             el_rendered *out, el_error *err) {
  if (t->family == EL_CHAT_UNKNOWN)
    return el_fail(err, EL_ERR_UNSUPPORTED,
                   "the model's chat template is of no known family (ChatML, Llama 2 and 3, "
                   "Mistral, Zephyr, Phi 3, Gemma, DeepSeek)");
  renderer r = {t, &STYLES[t->family], messages, n, out};
  el_status status = check(&r, err);
  if (status) return status;
  if (t->bos) add_fixed(&r, t->bos_text);
  switch (t->family) {
    case EL_CHAT_DEEPSEEK: render_deepseek(&r); break;
    case EL_CHAT_GEMMA:
    case EL_CHAT_LLAMA2:
    case EL_CHAT_MISTRAL_V0:
    case EL_CHAT_MISTRAL_V1:
    case EL_CHAT_MISTRAL_V3:
    case EL_CHAT_MISTRAL_V3_TEKKEN: status = render_instruct(&r, err); break;
    default: render_turns(&r);
  }
  if (status) return status;
  if (add_generation_prompt || t->always_open) {
    add_fixed(&r, r.s->opening);
    if (t->family == EL_CHAT_DEEPSEEK && t->think) add_fixed(&r, "<think>\n");
  } else if (t->family == EL_CHAT_PHI3 && t->eos_at_end) {
    add_fixed(&r, t->eos_text);
  }
  return out->no_memory ? el_fail(err, EL_ERR_NO_MEMORY, "no memory to render %zu messages", n) : EL_OK;
}

void el_rendered_free(el_rendered *r) {
  el_buf_free(&r->text);
  free(r->content);
  *r = (el_rendered){0};
}
