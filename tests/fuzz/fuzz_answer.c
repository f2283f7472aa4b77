/* Answers: any text is read the same whole as in pieces, and as long as nothing is a call nothing of it is lost. The
 * first byte says which form, the second how it is cut. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "answer/parser.h"
#include "base/buf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EMPTY                                                                                                         \
  .section = "", .section_end = "", .begin_space = "", .end_space = "", .name_key = "", .args_key = "", .id_end = "", \
  .name_end = "", .key = "", .value = "", .value_end = "", .value_space = "", .value_end_space = "", .key_end = "",   \
  .text_value = "", .json_value = "", .quote = "", .text = "", .text_end = "", .begin = "", .end = "",                \
  .reasoning = "<t>", .reasoning_end = "</t>"

#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif
static const el_answer_format FORMATS[] = {
    {.form = {EMPTY, .kind = EL_CALLS_JSON, .begin = "<c>", .end = "</c>"}},
    {.form = {EMPTY, .kind = EL_CALLS_JSON}},
    {.form = {EMPTY, .kind = EL_CALLS_JSON, .begin = "[C]", .list = true}},
    {.form = {EMPTY, .kind = EL_CALLS_KEYED, .begin = "<c>", .end = "</c>"}},
    {.form = {EMPTY, .kind = EL_CALLS_NAMED, .section = "<s>", .section_end = "</s>", .begin = "<c>", .end = "</c>",
              .id_end = "!", .name_end = "\n#"}},
    {.form = {EMPTY, .kind = EL_CALLS_PARAMETERS, .begin = "<c>\n<f=", .end = "</f>\n</c>", .name_end = ">",
              .key = "<p=", .value = ">", .value_end = "</p>", .value_space = "\n", .value_end_space = "\n"}},
    {.form = {EMPTY, .kind = EL_CALLS_PARAMETERS, .begin = "<c>", .end = "</c>", .key = "<p@", .key_end = ":",
              .text_value = "s", .json_value = "j", .value = ">", .value_end = "</p>"}},
    {.form = {EMPTY, .kind = EL_CALLS_PYTHON, .begin = "<c>", .end = "</c>", .text = "<x>", .text_end = "</x>"}},
    {.form = {EMPTY, .kind = EL_CALLS_QUOTED, .begin = "<c>", .end = "</c>", .quote = "<q>"}},
    {.form = {EMPTY, .kind = EL_CALLS_HARMONY, .reasoning = "", .reasoning_end = "<|end|>"}},
};

typedef struct parts {
  el_buf text;
  int last;
  size_t calls;
} parts;

static void add(void *user, const el_answer_part *part) {
  parts *p = user;
  assert(part->len);
  if (p->last != (int)part->type || part->type == EL_ANSWER_CALL) {
    char mark[2] = {1, (char)(2 + part->type)};
    el_buf_append(&p->text, mark, 2);
  }
  p->last = (int)part->type;
  p->calls += part->type == EL_ANSWER_CALL;
  el_buf_append(&p->text, part->text, part->len);
}

static parts read_all(const el_answer_format *f, const char *text, size_t len, size_t piece, bool whole) {
  static el_parameter string = {.name = "s", .kind = EL_PARAMETER_TEXT};
  static el_tool tools[] = {{.name = "f", .list = &string, .n_list = 1}, {.name = "g"}};
  static const el_tools TOOLS = {tools, 2};
  const el_answer_options o = {.tools = &TOOLS, .whole_calls = whole};
  el_answer_parser *p = NULL;
  el_error e;
  parts got = {.last = -1};
  if (el_answer_parser_open(f, &o, &p, &e)) abort();
  for (size_t at = 0; at < len; at += piece)
    if (el_answer_parser_push(p, text + at, piece < len - at ? piece : len - at, add, &got, &e)) abort();
  if (el_answer_parser_finish(p, add, &got, &e)) abort();
  assert(got.calls == el_answer_parser_calls(p));
  el_answer_parser_close(p);
  return got;
}

static bool same(const parts *a, const parts *b) {
  return a->text.len == b->text.len && (!a->text.len || !memcmp(a->text.data, b->text.data, a->text.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 3) return 0;
  const el_answer_format *f = &FORMATS[data[0] % (sizeof FORMATS / sizeof *FORMATS)];
  const char *text = (const char *)data + 2;
  size_t len = size - 2, piece = 1 + data[1] % 7;
  for (int whole = 0; whole < 2; whole++) {
    parts one = read_all(f, text, len, len, whole), many = read_all(f, text, len, piece, whole);
    assert(same(&one, &many));
    el_buf_free(&one.text);
    el_buf_free(&many.text);
  }
  return 0;
}
