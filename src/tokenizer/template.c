/* What family a Jinja chat template belongs to, and the few texts of it that differ from model to model. */
#include "tokenizer/template.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static bool has(const char *source, const char *what) {
  return strstr(source, what) != NULL;
}

/* Whether one of the expressions {{ ... }} holds both, `what` first. */
static bool same_expression(const char *source, const char *what, const char *also) {
  for (const char *p = strstr(source, what), *end; p && (end = strstr(p, "}}")); p = strstr(end, what))
    if (memmem(p, (size_t)(end - p), also, strlen(also))) return true;
  return false;
}

/* All of these write [INST]. */
static el_chat_family instruct_family(const char *s) {
  if (has(s, "[SYSTEM_PROMPT]")) return has(s, "'[INST] '") ? EL_CHAT_MISTRAL_V7 : EL_CHAT_UNKNOWN;
  if (has(s, "' [INST] ' + system_message")) return EL_CHAT_MISTRAL_V1;
  if (has(s, "[AVAILABLE_TOOLS]"))
    return has(s, " [INST]")      ? EL_CHAT_MISTRAL_V1
           : has(s, "\"[INST]\"") ? EL_CHAT_MISTRAL_V3_TEKKEN
                                  : EL_CHAT_MISTRAL_V3;
  return has(s, "<<SYS>>") ? EL_CHAT_LLAMA2 : EL_CHAT_MISTRAL_V0;
}

static el_chat_family family_of(const char *s) {
  if (has(s, "<|im_start|>")) {
    if (has(s, "<|im_sep|>")) return EL_CHAT_PHI4;
    return has(s, "<|im_end|>") && !has(s, "<end_of_utterance>") ? EL_CHAT_CHATML : EL_CHAT_UNKNOWN;
  }
  if (has(s, "[INST]")) return instruct_family(s);
  if (has(s, "<|assistant|>") && has(s, "<|end|>")) return EL_CHAT_PHI3;
  if (has(s, "<|assistant|>") && (same_expression(s, "<|user|>", "eos_token") || has(s, "<|endoftext|>")))
    return EL_CHAT_ZEPHYR;
  if (has(s, "<start_of_turn>") && has(s, "<end_of_turn>")) return EL_CHAT_GEMMA;
  if (has(s, "<|start_header_id|>") && has(s, "<|eot_id|>")) return EL_CHAT_LLAMA3;
  if (has(s, "<｜User｜>") && has(s, "<｜Assistant｜>") && has(s, "<｜end▁of▁sentence｜>")) return EL_CHAT_DEEPSEEK;
  return EL_CHAT_UNKNOWN;
}

/* Other things may be trimmed too, thoughts for example: where a turn is one expression, this must be in it. */
static bool trims(const char *s, el_chat_family family) {
  static const char *const WAYS[] = {"content'] | trim", "content']|trim", "content'].strip()", "content\"] | trim",
                                     "content\"]|trim",  "content | trim", "content|trim",      "content.strip()"};
  const char *turn = family == EL_CHAT_CHATML || family == EL_CHAT_PHI4   ? "<|im_start|>"
                     : family == EL_CHAT_PHI3 || family == EL_CHAT_ZEPHYR ? "<|"
                                                                          : NULL;
  if (family == EL_CHAT_MISTRAL_V3) return false; /* answers only, and always */
  for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++)
    if (turn ? same_expression(s, turn, WAYS[i]) : has(s, WAYS[i])) return true;
  return false;
}

/* --- texts in a template */

/* Walks through the texts of a template: string literals of expressions and statements, and what stands outside. */
typedef struct literals {
  const char *at;
  bool inside;       /* of {{ }} or {% %} */
  char *text;        /* the current one, without escapes; room for the whole template */
  const char *begin; /* where it begins in the template */
} literals;

static char unescape(char c) {
  return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
}

static void read_quoted(literals *l) {
  char quote = *l->at++, *out = l->text;
  for (; *l->at && *l->at != quote; l->at++) {
    if (*l->at == '\\' && l->at[1]) {
      if (!strchr("ntr\\'\"", l->at[1])) *out++ = '\\';
      *out++ = unescape(*++l->at);
    } else {
      *out++ = *l->at;
    }
  }
  if (*l->at) l->at++;
  *out = 0;
}

/* false: that was all. */
static bool next_literal(literals *l) {
  while (*l->at) {
    l->begin = l->at;
    if (!l->inside) {
      char *out = l->text;
      while (*l->at && strncmp(l->at, "{{", 2) && strncmp(l->at, "{%", 2) && strncmp(l->at, "{#", 2)) *out++ = *l->at++;
      *out = 0;
      if (strncmp(l->at, "{#", 2) == 0) {
        const char *end = strstr(l->at, "#}");
        l->at = end ? end + 2 : l->at + strlen(l->at);
      } else if (*l->at) {
        l->at += 2;
        l->inside = true;
      }
      if (out > l->text) return true;
    } else if (*l->at == '\'' || *l->at == '"') {
      read_quoted(l);
      return true;
    } else if (strncmp(l->at, "}}", 2) == 0 || strncmp(l->at, "%}", 2) == 0) {
      l->at += 2;
      l->inside = false;
    } else {
      l->at++;
    }
  }
  return false;
}

static const char *back_over_spaces(const char *source, const char *p) {
  while (p > source && p[-1] == ' ') p--;
  return p;
}

/* Whether the literal is what a variable with `part` in its name is set to: "set NAME = " stands before it. */
static bool is_set_to(const char *source, const char *literal, const char *part) {
  const char *p = back_over_spaces(source, literal);
  if (p == source || *--p != '=') return false;
  const char *end = back_over_spaces(source, p), *name = end;
  while (name > source && (isalnum((unsigned char)name[-1]) || name[-1] == '_')) name--;
  p = back_over_spaces(source, name);
  return memmem(name, (size_t)(end - name), part, strlen(part)) && p - source >= 3 && memcmp(p - 3, "set", 3) == 0;
}

/* ChatML's default system message: a turn that is written out in one literal, or a variable's value. Points into text.
 */
static char *default_system(const char *source, const literals *l) {
  static const char TURN[] = "<|im_start|>system\n";
  char *begin = strstr(l->text, TURN);
  if (begin) {
    begin += strlen(TURN);
    char *end = strstr(begin, "<|im_end|>");
    if (!end || end == begin) return NULL;
    *end = 0;
    return begin;
  }
  return l->inside && l->text[0] && is_set_to(source, l->begin, "system") ? l->text : NULL;
}

/* A copy of the default system message, or with `date` of the default date; NULL if there is none or no memory. */
static char *find_text(const char *source, bool date, bool *no_memory) {
  char *room = malloc(strlen(source) + 1), *found = NULL, *copy = NULL;
  *no_memory = !room;
  if (!room) return NULL;
  literals l = {.at = source, .text = room};
  while (!found && next_literal(&l)) {
    if (!date)
      found = default_system(source, &l);
    else if (l.inside && is_set_to(source, l.begin, "date_string"))
      found = l.text;
  }
  if (found) {
    copy = strdup(found);
    *no_memory = !copy;
  }
  free(room);
  return copy;
}

/* --- */

/* false: no memory. */
static bool recognise(el_template *t, const char *source) {
  t->family = family_of(source);
  t->bos_turns = has(source, "bos_token + '[INST]");
  t->bos = has(source, "bos_token") && !t->bos_turns;
  t->always_open = t->family == EL_CHAT_LLAMA3 && !has(source, "add_generation_prompt");
  t->trim = trims(source, t->family);
  t->eos_at_end = has(source, "{% else %}{{ eos_token }}");
  t->tool_responses = has(source, "<tool_response>");
  t->think = has(source, "<｜Assistant｜><think>");
  t->drop_thoughts = has(source, "split('</think>')");
  bool no_memory = false;
  if (t->family == EL_CHAT_CHATML) t->system = find_text(source, false, &no_memory);
  if (t->family == EL_CHAT_LLAMA3 && has(source, "Cutting Knowledge Date: December 2023"))
    t->date = find_text(source, true, &no_memory);
  if (t->family == EL_CHAT_ZEPHYR && !same_expression(source, "<|user|>", "eos_token")) {
    free(t->eos_text);
    t->eos_text = strdup("<|endoftext|>");
    no_memory |= !t->eos_text;
  }
  return !no_memory;
}

el_status el_template_open(el_str source, el_str bos, el_str eos, el_template **out, el_error *err) {
  char *text = el_str_dup(source);
  el_template *t = calloc(1, sizeof *t);
  bool ok = text && t && (t->bos_text = el_str_dup(bos)) && (t->eos_text = el_str_dup(eos)) && recognise(t, text);
  free(text);
  if (!ok) {
    el_template_close(t);
    return el_fail(err, EL_ERR_NO_MEMORY, "no memory for a chat template of %zu bytes", source.len);
  }
  *out = t;
  return EL_OK;
}

void el_template_close(el_template *t) {
  if (!t) return;
  free(t->system);
  free(t->date);
  free(t->bos_text);
  free(t->eos_text);
  free(t);
}
