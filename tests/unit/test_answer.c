/* Answers: what templates teach of calls and reasoning, and how text that comes in pieces is read. tests/py does it
 * with public templates. */
#include "answer/form.h"
#include "answer/json_scan.h"
#include "answer/parser.h"
#include "vocab_fixture.h"

#define TURNS(calls)                                                                                                   \
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.tool_calls %}" calls                                       \
  "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}{% if tools %}Tools: {{ tools | tojson }}\n{% endif %}" \
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
#define EACH(call) TURNS("{% for t in m.tool_calls %}{% set c = t.function %}" call "{% endfor %}")

/* Templates of our own that write calls as the families do. */
#define HERMES EACH("<tool_call>\n{{ {'name': c.name, 'arguments': c.arguments} | tojson }}\n</tool_call>\n")
#define MISTRAL \
  TURNS("[TOOL_CALLS][{% for t in m.tool_calls %}{{ ', ' if not loop.first }}{{ t.function | tojson }}{% endfor %}]")
#define MISTRAL_NEW EACH("[TOOL_CALLS]{{ c.name }}[ARGS]{{ c.arguments | tojson }}")
#define LLAMA EACH("{\"name\": \"{{ c.name }}\", \"parameters\": {{ c.arguments | tojson }}}")
#define QWEN_CODER                                                                                                    \
  EACH(                                                                                                               \
      "<tool_call>\n<function={{ c.name }}>\n{% for k, v in c.arguments | items %}<parameter={{ k }}>\n{{ v if v is " \
      "string else v | tojson }}\n</parameter>\n{% endfor %}</function>\n</tool_call>\n")
#define DEEPSEEK                                                                                                      \
  TURNS(                                                                                                              \
      "<calls>{% for t in m.tool_calls %}<call>function<sep>{{ t.function.name }}\n```json\n{{ t.function.arguments " \
      "| "                                                                                                            \
      "tojson }}\n```</call>{% endfor %}</calls>")
#define PYTHON                                                                                                         \
  TURNS(                                                                                                               \
      "<py>[{% for t in m.tool_calls %}{{ ', ' if not loop.first }}{{ t.function.name }}({% for k, v in "              \
      "t.function.arguments | items %}{{ ', ' if not loop.first }}{{ k }}={{ \"'\" + v + \"'\" if v is string else v " \
      "}}"                                                                                                             \
      "{% endfor %}){% endfor %}]</py>")
#define QUOTED                                                                                                     \
  EACH(                                                                                                            \
      "<call>{{ c.name }}{ {%- for k, v in c.arguments | dictsort -%}{{ k }}:{% if v is string %}<q>{{ v }}<q>{% " \
      "else "                                                                                                      \
      "%}{{ v | tojson }}{% endif %}{{ ',' if not loop.last }}{%- endfor -%} }</call>")
#define FUNCTIONARY                                                                                                \
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.tool_calls %}{% for t in m.tool_calls %}>>>{{ "        \
  "t.function.name }}\n"                                                                                           \
  "{{ t.function.arguments | tojson }}{% endfor %}{% elif m.role == 'assistant' %}>>>all\n{{ m.content }}{% else " \
  "%}{{ m.content "                                                                                                \
  "}}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n>>>{% endif %}"
#define HARMONY                                                                                                        \
  "{% for m in messages %}<|start|>{{ m.role }}{% if m.tool_calls %} to=functions.{{ m.tool_calls[0].function.name }}" \
  "<|channel|>commentary json<|message|>{{ m.tool_calls[0].function.arguments | tojson }}<|call|>{% elif m.role == "   \
  "'assistant' %}<|channel|>final<|message|>{{ m.content }}<|end|>{% else %}<|message|>{{ m.content }}<|end|>{% "      \
  "endif %}"                                                                                                           \
  "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
#define THINKING                                                                                                  \
  "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.reasoning_content %}<think>\n{{ m.reasoning_content " \
  "}}\n</think>\n\n"                                                                                              \
  "{% endif %}{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
#define PLAIN TURNS("")

enum { CALL_TOKEN = 259 };

static el_tokenizer *tokenizer_with(const char *template) {
  const vocab_spec s = {.pre = "gpt-2",
                        .more = {{"<|im_start|>", CONTROL},
                                 {"<|im_end|>", CONTROL},
                                 {"<s>", CONTROL},
                                 {"<tool_call>", CONTROL},
                                 {"</tool_call>", NORMAL},
                                 {"[TOOL_CALLS]", CONTROL},
                                 {"<|message|>", CONTROL}},
                        .merges = {"\xc4\x8a \xc4\x8a"},
                        .bos = 258,
                        .eos = 257,
                        .template = template};
  return open_good(&s);
}

/* --- tools, and the format of a template */

#define S(s)                                                \
  {                                                         \
    .type = EL_VALUE_STRING, .string = { s, sizeof(s) - 1 } \
  }
#define O(m)                                                          \
  {                                                                   \
    .type = EL_VALUE_OBJECT, .object = { m, sizeof(m) / sizeof *(m) } \
  }
#define A(m)                                                        \
  {                                                                 \
    .type = EL_VALUE_ARRAY, .array = { m, sizeof(m) / sizeof *(m) } \
  }

static const el_member TEXT_TYPE[] = {{"type", S("string")}}, NUMBER_TYPE[] = {{"type", S("integer")}};
static const el_member PROPERTIES[] = {{"city", O(TEXT_TYPE)}, {"n", O(NUMBER_TYPE)}};
static const el_member PARAMETERS[] = {{"type", S("object")}, {"properties", O(PROPERTIES)}};
static const el_member WEATHER[] = {{"name", S("weather")}, {"parameters", O(PARAMETERS)}};
static const el_member STRICT[] = {
    {"name", S("add")}, {"description", S("Adds \"all\"")}, {"strict", {.type = EL_VALUE_BOOL, .boolean = true}}};
static const el_member LOOSE[] = {{"name", S("add")}};
static const el_member TOOL_1[] = {{"type", S("function")}, {"function", O(WEATHER)}};
static const el_member TOOL_2[] = {{"type", S("function")}, {"function", O(LOOSE)}};
static const el_member TOOL_STRICT[] = {{"type", S("function")}, {"function", O(STRICT)}};
static const el_value TWO[] = {O(TOOL_1), O(TOOL_2)}, WITH_STRICT[] = {O(TOOL_1), O(TOOL_STRICT)};
static const el_value TOOLS = A(TWO), STRICT_TOOLS = A(WITH_STRICT);

typedef struct rig {
  el_tokenizer *t;
  el_answer_format *f;
  el_tools *tools;
} rig;

static rig open_rig(const char *template, const el_value *tools) {
  rig r = {.t = tokenizer_with(template)};
  el_error e = {0};
  if (el_answer_format_open(r.t, NULL, &r.f, &e) || el_tools_open(tools, &r.tools, &e)) fail_msg("%s", e.message);
  return r;
}

static void close_rig(rig *r) {
  el_tools_close(r->tools);
  el_answer_format_close(r->f);
  el_tokenizer_close(r->t);
}

/* --- reading: parts as one text, "T(...)", "R(...)", "C(name)", "A(...)", those of a kind in a row joined */

typedef struct parts {
  el_buf text;
  int last;
} parts;

static void add_part(void *user, const el_answer_part *part) {
  parts *p = user;
  assert_true(part->len > 0);
  if (p->last != (int)part->type || part->type == EL_ANSWER_CALL) {
    if (p->text.len) put(&p->text, ")", 1);
    el_buf_printf(&p->text, "%c(", "TRCA"[part->type]);
  }
  p->last = (int)part->type;
  put(&p->text, part->text, part->len);
}

typedef struct how {
  const char *prompt;
  size_t piece, cut; /* pieces of so many bytes; or two pieces; 0: all at once */
  bool streamed, without_tools;
} how;

static char *read_text(const rig *r, const char *text, size_t len, how h) {
  const el_answer_options o = {.tools = h.without_tools ? NULL : r->tools,
                               .prompt = h.prompt,
                               .prompt_len = h.prompt ? strlen(h.prompt) : 0,
                               .whole_calls = !h.streamed};
  el_answer_parser *p = NULL;
  parts got = {.last = -1};
  el_error e = {0};
  put(&got.text, "", 0);
  assert_int_equal(el_answer_parser_open(r->f, &o, &p, &e), EL_OK);
  for (size_t at = 0, n; at < len; at += n) {
    n = h.piece ? h.piece : h.cut && !at ? h.cut : len - at;
    if (n > len - at) n = len - at;
    assert_int_equal(el_answer_parser_push(p, text + at, n, add_part, &got, &e), EL_OK);
  }
  assert_int_equal(el_answer_parser_finish(p, add_part, &got, &e), EL_OK);
  el_answer_parser_close(p);
  if (got.text.len) put(&got.text, ")", 1);
  return got.text.data;
}

/* However it is cut. */
static void check(const rig *r, const char *prompt, const char *text, const char *want) {
  size_t len = strlen(text);
  for (int streamed = 0; streamed < 2; streamed++)
    for (size_t cut = 0; cut <= len; cut++) {
      how h = {.prompt = prompt, .streamed = streamed};
      if (cut == len)
        h.piece = 1;
      else
        h.cut = cut;
      char *got = read_text(r, text, len, h);
      if (strcmp(got, want)) fail_msg("'%s', cut at %zu, streamed %d: %s, not %s", text, cut, streamed, got, want);
      free(got);
    }
}

static void check_with(const char *template, const char *prompt, const char *text, const char *want) {
  rig r = open_rig(template, &TOOLS);
  check(&r, prompt, text, want);
  close_rig(&r);
}

/* --- tests */

static void calls_are_read_in_the_form_that_the_template_writes(void **state) {
  check_with(
      HERMES, NULL,
      "Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Z}\\\"\", \"n\": [1, {}]}}\n"
      "</tool_call>\n<tool_call>{\"arguments\": {}, \"name\": \"add\"}</tool_call>",
      "T(Let me see.)C(weather)A({\"city\": \"Z}\\\"\", \"n\": [1, {}]})C(add)A({})");
  check_with(MISTRAL, NULL,
             "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"n\": 1}}, {\"name\": \"add\", \"arguments\": "
             "\"{\\\"a\\\": "
             "2}\", \"id\": \"123456789\"}]",
             "C(weather)A({\"n\": 1})C(add)A({\"a\": 2})");
  check_with(MISTRAL_NEW, NULL, "[TOOL_CALLS]weather[ARGS]{\"n\": 1}[TOOL_CALLS]add[CALL_ID]x1[ARGS]{}",
             "C(weather)A({\"n\": 1})C(add)A({})");
  check_with(LLAMA, NULL, "{\"name\": \"weather\", \"parameters\": {\"n\": 1}}", "C(weather)A({\"n\": 1})");
  check_with(LLAMA, NULL,
             "<|python_tag|>{\"name\": \"add\", \"parameters\": {}}; {\"name\": \"weather\", \"parameters\": {}}",
             "C(add)A({})T(; {\"name\": \"weather\", \"parameters\": {}})");
  check_with(LLAMA, NULL, "{\"name\": \"add\", \"parameters\": {}}; {\"name\": \"weather\", \"parameters\": {}}",
             "C(add)A({})C(weather)A({})");
  check_with(QWEN_CODER, NULL,
             "<tool_call>\n<function=weather>\n<parameter=city>\n42\n</parameter>\n<parameter=n>\n42\n</parameter>\n</"
             "function>\n"
             "</tool_call>\n<function=add>\n</function>\n</tool_call>",
             "C(weather)A({\"city\": \"42\", \"n\": 42})C(add)A({})");
  check_with(
      DEEPSEEK, NULL,
      "Hm<calls><call>function<sep>weather\n```json\n{\"n\": 1}\n```</call>\n<call>function<sep>add\n```json\n{}\n```"
      "</call></calls>",
      "T(Hm)C(weather)A({\"n\": 1})C(add)A({})");
  check_with(PYTHON, NULL, "<py>[weather(city='it\\'s', n=-1.5), add(a=[True, None, {'k': \"v\"}])]</py> done",
             "C(weather)A({\"city\": \"it's\", \"n\": -1.5})C(add)A({\"a\": [true, null, {\"k\": \"v\"}]})T(done)");
}

static void strings_between_marks_are_read_as_they_are(void **state) {
  check_with(QUOTED, NULL, "So <call>weather{city:<q>it's \"here\" {[}\n<q>,n:-1.5}</call><call>add{}</call> done",
             "T(So)C(weather)A({\"city\": \"it's \\\"here\\\" {[}\\n\", \"n\": -1.5})C(add)A({})T(done)");
  check_with(QUOTED, NULL, "<call>weather{ <q>a b<q> : [<q>x<q>, true, {c:None,\"d\":\"}\\\"\"}], e : word here }",
             "C(weather)A({\"a b\": [\"x\", true, {\"c\": null, \"d\": \"}\\\"\"}], \"e\": \"word here\"})");
  check_with(QUOTED, NULL, "<call>none{}</call>", "T(<call>none{}</call>)");
  check_with(QUOTED, NULL, "<call>add{a:}</call>", "T(<call>add{a:}</call>)");
  check_with(QUOTED, NULL, "<call>add{a}</call>", "T(<call>add{a}</call>)");
  check_with(QUOTED, NULL, "<call>add{a:<q>x}", "T(<call>add{a:<q>x})");
  check_with(QUOTED, NULL, "<call>add{a:[1}", "T(<call>add{a:[1})");
}

static void a_mark_in_the_prompt_begins_the_answer(void **state) {
  check_with(FUNCTIONARY, "<|im_start|>assistant\n>>>", "weather\n{\"n\": 1}>>>add\n{}",
             "C(weather)A({\"n\": 1})C(add)A({})");
  check_with(FUNCTIONARY, "<|im_start|>assistant\n>>>", "all\nHello >>> there", "T(Hello >>> there)");
}

static void channels_are_told_apart(void **state) {
  check_with(
      HARMONY, "<|start|>assistant",
      "<|channel|>analysis<|message|>Let me see<|end|><|start|>assistant<|channel|>commentary to=functions.weather "
      "<|constrain|>json<|message|>{\"n\": 1}<|call|>",
      "R(Let me see)C(weather)A({\"n\": 1})");
  check_with(HARMONY, "<|start|>assistant", " to=functions.add<|channel|>commentary json<|message|>{}", "C(add)A({})");
  check_with(HARMONY, "<|start|>assistant",
             "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final<|message|>It is <b>.",
             "R(Hm)T(It is <b>.)");
}

static void reasoning_is_told_from_the_answer(void **state) {
  check_with(THINKING, NULL, "<think>\nI think </thin.\n</think>\n\nYes.\n", "R(I think </thin.)T(Yes.\n)");
  check_with(THINKING, "<|im_start|>assistant\n<think>\n", "I think\n</think>\n\nYes", "R(I think)T(Yes)");
  check_with(THINKING, "<|im_start|>assistant\n<think>\n", "I think and think", "R(I think and think)");
  check_with(THINKING, NULL, "  About <think> tags </think>", "T(  About <think> tags </think>)");
  check_with(THINKING, NULL, "<think>Hm</think>{\"name\": \"add\", \"arguments\": {}}", "R(Hm)C(add)A({})");
  rig r = open_rig(THINKING, &TOOLS);
  el_answer_info info;
  el_answer_format_info(r.f, &info);
  assert_string_equal(info.reasoning_begin, "<think>");
  assert_string_equal(info.reasoning_end, "</think>");
  close_rig(&r);
}

static void a_model_that_knows_no_tools_calls_by_plain_json(void **state) {
  check_with(PLAIN, NULL, "\n{\"name\": \"weather\", \"arguments\": {\"n\": 1}}\n", "C(weather)A({\"n\": 1})");
  check_with(PLAIN, NULL, "I do:\n```json\n{\"name\": \"add\", \"arguments\": {}}\n```\nSo.",
             "T(I do:)C(add)A({})T(So.)");
  check_with(PLAIN, NULL, "```tool_code\nadd(a=1)\n```", "C(add)A({\"a\": 1})");
  check_with(PLAIN, NULL, "<tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>", "C(add)A({})");
}

static void what_is_no_call_of_a_tool_is_text(void **state) {
  static const char *const HERMES_TEXTS[] = {
      "<tool_call>\n{\"name\": \"unknown\", \"arguments\": {}}\n</tool_call>",
      "a  <tool_call> {\"name\": \"add\"  x",
      "<tool_call>",
      "<tool_call",
      "x <tool_call>\n{\"arguments\": {}}\n</tool_call> y\n",
      "<tool_call>\n{\"name\": \"add\", \"arguments\": [1]}\n</tool_call>",
      "<tool_call>\n{\"name\": \"add\", \"arguments\": \"{\"}\n</tool_call>",
      "<tool_call>\n{\"name\": \"ad",
      "{\"name\": \"add\", \"arguments\": {}}",
      " \n ",
      "",
  };
  rig r = open_rig(HERMES, &TOOLS);
  for (size_t i = 0; i < sizeof HERMES_TEXTS / sizeof *HERMES_TEXTS; i++) {
    el_buf want = {0};
    el_buf_printf(&want, HERMES_TEXTS[i][0] ? "T(%s)" : "%s", HERMES_TEXTS[i]);
    check(&r, NULL, HERMES_TEXTS[i], want.data);
    el_buf_free(&want);
  }
  close_rig(&r);
  check_with(QWEN_CODER, NULL, "<tool_call>\n<function=add>\n<parameter=a>\n1",
             "T(<tool_call>\n<function=add>\n<parameter=a>\n1)");
  check_with(PLAIN, NULL, "{\"name\": \"Bob\", \"age\": 3}", "T({\"name\": \"Bob\", \"age\": 3})");
  check_with(PYTHON, NULL, "<py>[add(a=b)]</py>", "T(<py>[add(a=b)]</py>)");
  check_with(HARMONY, "", "<|channel|>commentary to=functions.none<|message|>{}",
             "T(<|channel|>commentary to=functions.none<|message|>{})");
}

/* What has been given of a call stays; the rest is text, wherever it was cut. */
static void a_streamed_call_that_turns_out_broken_is_text_from_there_on(void **state) {
  static const char TEXT[] = "<tool_call>{\"name\": \"add\", \"arguments\": {}| x";
  rig r = open_rig(HERMES, &TOOLS);
  for (size_t cut = 0; cut < sizeof TEXT - 1; cut++) {
    char *got = read_text(&r, TEXT, sizeof TEXT - 1, (how){.streamed = true, .cut = cut});
    assert_string_equal(got, "C(add)A({})T(| x)");
    free(got);
  }
  close_rig(&r);
}

static void a_call_after_a_broken_one_is_read(void **state) {
  check_with(HERMES, NULL, "<tool_call>{x}</tool_call><tool_call>{\"name\": \"add\", \"arguments\": {}}</tool_call>",
             "T(<tool_call>{x}</tool_call>)C(add)A({})");
}

static void without_tools_calls_are_text(void **state) {
  static const char TEXT[] = "<tool_call>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_call>";
  rig r = open_rig(HERMES, &TOOLS);
  char *got = read_text(&r, TEXT, sizeof TEXT - 1, (how){.without_tools = true});
  assert_string_equal(got, "T(<tool_call>\n{\"name\": \"add\", \"arguments\": {}}\n</tool_call>)");
  free(got);
  close_rig(&r);
}

/* In one piece a call that breaks off is text; streamed, its arguments have been given as far as they came. */
static void arguments_come_as_they_are_written(void **state) {
  static const char TEXT[] = "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": [1, 2";
  rig r = open_rig(HERMES, &TOOLS);
  char *whole = read_text(&r, TEXT, sizeof TEXT - 1, (how){0});
  char *streamed = read_text(&r, TEXT, sizeof TEXT - 1, (how){.streamed = true, .piece = 1});
  assert_string_equal(whole, "T(<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": [1, 2)");
  assert_string_equal(streamed, "C(add)A({\"a\": [1, 2)");
  free(whole);
  free(streamed);
  close_rig(&r);
}

/* Two megabytes each: what takes time in proportion to their square does not end. */
static void hostile_answers_take_time_in_proportion(void **state) {
  static const struct {
    const char *template, *begin, *again;
  } HOSTILE[] = {
      {HERMES, "", "<tool_call>{\"a\":\""},
      {HERMES, "<tool_call>{\"name\": \"add\", \"arguments\": {\"a\": \"", "\\n<tool_call>"},
      {HERMES, "", "<tool_call> \n"},
      {HERMES, "", "  \n"},
      {HERMES, "", "<tool_call>{\"name\": \"add\", \"arguments\": {}}"},
      {QWEN_CODER, "<tool_call>\n<function=add>\n<parameter=a>\n", "</parameter"},
      {QWEN_CODER, "", "<tool_call>\n<function=add>"},
      {MISTRAL_NEW, "", "[TOOL_CALLS]add"},
      {DEEPSEEK, "<calls>", ", ; "},
      {PYTHON, "<py>", "[("},
      {PYTHON, "", "<py>[add('"},
      {QUOTED, "<call>add{a:", "["},
      {QUOTED, "", "<call>add{a:<q>"},
      {QUOTED, "<call>add{a:<q>", "<q"},
      {HARMONY, "", "<|channel|>analysis"},
      {THINKING, "<think>", "</think"},
      {PLAIN, "", "```json{"},
  };
  for (size_t i = 0; i < sizeof HOSTILE / sizeof *HOSTILE; i++) {
    rig r = open_rig(HOSTILE[i].template, &TOOLS);
    el_buf text = {0};
    put(&text, HOSTILE[i].begin, strlen(HOSTILE[i].begin));
    while (text.len < (2 << 20)) put(&text, HOSTILE[i].again, strlen(HOSTILE[i].again));
    free(read_text(&r, text.data, text.len, (how){.piece = 5, .streamed = i & 1}));
    el_buf_free(&text);
    close_rig(&r);
  }
}

static void control_tokens_that_mark_calls_are_shown(void **state) {
  rig r = open_rig(HERMES, &TOOLS);
  el_answer_info info;
  el_answer_format_info(r.f, &info);
  assert_int_equal(info.n_shown_tokens, 1);
  assert_int_equal(info.shown_tokens[0], CALL_TOKEN);
  assert_string_equal(info.calls, "json");
  assert_string_equal(info.call_begin, "<tool_call>");
  assert_true(info.shows_tools && info.writes_calls && info.parallel);
  close_rig(&r);
}

static void tools_are_checked(void **state) {
  static const el_member NO_NAME[] = {{"description", S("x")}}, BAD_NAME[] = {{"name", S("a b")}};
  static const el_member BAD[][2] = {{{"type", S("function")}, {"function", O(NO_NAME)}},
                                     {{"type", S("function")}, {"function", O(BAD_NAME)}},
                                     {{"type", S("retrieval")}, {"function", O(LOOSE)}}};
  static const char *const WHY[] = {"tools[1].function.name", "tools[1].function.name", "tools[1].type"};
  for (size_t i = 0; i < 3; i++) {
    const el_value list[] = {O(TOOL_1), O(BAD[i])}, all = A(list);
    el_tools *t = NULL;
    el_error e = {0};
    assert_int_equal(el_tools_open(&all, &t, &e), EL_ERR_INVALID);
    assert_null(t);
    assert_contains(e.message, WHY[i]);
  }
  const el_value twice[] = {O(TOOL_1), O(TOOL_1)}, all = A(twice);
  el_tools *t = NULL;
  el_error e = {0};
  assert_int_equal(el_tools_open(&all, &t, &e), EL_ERR_INVALID);
  assert_contains(e.message, "another tool of this name");
}

static el_constraint_source *constraint_of(const rig *r, el_call_rules rules, const char *prompt) {
  el_constraint_source *s = NULL;
  el_error e = {0};
  if (el_answer_constraint(r->f, r->tools, &rules, prompt, strlen(prompt), &s, &e)) fail_msg("%s", e.message);
  return s;
}

static void a_required_call_is_constrained_by_its_schema(void **state) {
  rig r = open_rig(HERMES, &TOOLS);
  assert_null(constraint_of(&r, (el_call_rules){.parallel = true}, ""));
  el_constraint_source *s = constraint_of(&r, (el_call_rules){.required = true}, "<|im_start|>assistant\n");
  assert_int_equal(s->type, EL_CONSTRAINT_TAGS);
  assert_int_equal(s->n_tags, 2);
  assert_int_equal(s->n_triggers, 0);
  assert_true(s->at_least_one && s->stop_after_first);
  assert_string_equal(s->tags[0].begin, "<tool_call>\n{\"name\": \"weather\", \"arguments\": ");
  assert_string_equal(s->tags[0].end, "}\n</tool_call>");
  assert_int_equal(s->tags[0].content, EL_CONSTRAINT_JSON_SCHEMA);
  assert_string_equal(s->tags[0].text,
                      "{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}, \"n\": {\"type\": "
                      "\"integer\"}}, \"additionalProperties\": false}");
  assert_int_equal(s->tags[0].len, strlen(s->tags[0].text));
  free(s);
  s = constraint_of(&r, (el_call_rules){.only = "add", .parallel = true}, "");
  assert_int_equal(s->n_tags, 1);
  assert_string_equal(s->tags[0].begin, "<tool_call>\n{\"name\": \"add\", \"arguments\": ");
  assert_false(s->stop_after_first);
  free(s);
  el_error e = {0};
  assert_int_equal(el_answer_constraint(r.f, r.tools, &(el_call_rules){.only = "no"}, "", 0, &s, &e), EL_ERR_INVALID);
  close_rig(&r);
}

static void strict_tools_are_constrained_where_they_are_called(void **state) {
  rig r = open_rig(HERMES, &STRICT_TOOLS);
  el_constraint_source *s = constraint_of(&r, (el_call_rules){.parallel = true}, "");
  assert_int_equal(s->n_triggers, 1);
  assert_string_equal(s->triggers[0], "<tool_call>");
  assert_false(s->at_least_one || s->stop_after_first);
  assert_int_equal(s->tags[0].content, EL_CONSTRAINT_JSON_OBJECT);
  assert_int_equal(s->tags[1].content, EL_CONSTRAINT_JSON_SCHEMA);
  assert_string_equal(s->tags[1].text, "{\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false}");
  free(s);
  close_rig(&r);
}

/* What a constraint makes the model write is what the parser reads. */
static void what_is_constrained_is_read(void **state) {
  static const char *const TEMPLATES[] = {HERMES, MISTRAL, MISTRAL_NEW, LLAMA, DEEPSEEK, PLAIN, THINKING, FUNCTIONARY};
  for (size_t i = 0; i < sizeof TEMPLATES / sizeof *TEMPLATES; i++) {
    rig r = open_rig(TEMPLATES[i], &TOOLS);
    el_constraint_source *s = constraint_of(&r, (el_call_rules){.required = true}, "");
    el_buf text = {0};
    el_buf_printf(&text, "%s{\"n\": 1}%s", s->tags[0].begin, s->tags[0].end);
    check(&r, "", text.data, "C(weather)A({\"n\": 1})");
    el_buf_free(&text);
    free(s);
    close_rig(&r);
  }
}

static void instructions_tell_of_tools_and_of_the_form(void **state) {
  rig r = open_rig(PLAIN, &STRICT_TOOLS);
  char *text = NULL;
  size_t len = 0;
  el_error e = {0};
  assert_int_equal(el_answer_instructions(r.f, r.tools, &(el_call_rules){.parallel = true}, &text, &len, &e), EL_OK);
  assert_int_equal(strlen(text), len);
  assert_contains(text, "{\"name\": \"weather\", \"parameters\": {\"type\": \"object\"");
  assert_contains(text, "{\"name\": \"add\", \"description\": \"Adds \\\"all\\\"\", \"parameters\"");
  assert_contains(text, "{\"name\": \"NAME\", \"arguments\": {ARGUMENTS}}");
  free(text);
  close_rig(&r);
}

static void json_is_what_the_standard_says(void **state) {
  static const char *const GOOD[] = {
      "{}", " [1, -0.5e+3, \"\\u00e9\\n\", true, null, {\"a\": []}] ", "0", "\"\"", "-1", "false"};
  static const char *const BAD[] = {"",       "{",       "[1,]", "{\"a\":1,}",  "01",    "1.", "+1",
                                    "tru",    "truex",   "\"a",  "'a'",         "[1] 2", "1}", "{a:1}",
                                    "\"\t\"", "\"\\x\"", "1e",   "\"\\u12g4\"", "nul"};
  for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++)
    assert_true(el_json_is_value((el_str){GOOD[i], strlen(GOOD[i])}));
  for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
    if (el_json_is_value((el_str){BAD[i], strlen(BAD[i])})) fail_msg("'%s' is a value", BAD[i]);
  el_buf deep = {0};
  for (int i = 0; i <= EL_JSON_MAX_DEPTH; i++) put(&deep, "[", 1);
  for (int i = 0; i <= EL_JSON_MAX_DEPTH; i++) put(&deep, "]", 1);
  assert_false(el_json_is_value((el_str){deep.data, deep.len}));
  assert_true(el_json_is_value((el_str){deep.data + 1, deep.len - 2}));
  el_buf_free(&deep);
}

static void json_strings_come_back(void **state) {
  static const char TEXT[] = "a\"b\\c\n\t\x01\xc3\xa9\xf0\x9f\x98\x80/";
  el_buf quoted = {0}, back = {0};
  assert_true(el_json_quote(&quoted, (el_str){TEXT, sizeof TEXT - 1}));
  assert_true(el_json_unescape(&back, (el_str){quoted.data + 1, quoted.len - 2}));
  assert_string_equal(back.data, TEXT);
  back.len = 0;
  static const char ESCAPED[] = "\\ud83d\\ude00\\ud83dx\\u00e9\\/";
  assert_true(el_json_unescape(&back, (el_str){ESCAPED, sizeof ESCAPED - 1}));
  assert_string_equal(back.data, "\xf0\x9f\x98\x80\xef\xbf\xbdx\xc3\xa9/");
  el_buf_free(&quoted);
  el_buf_free(&back);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(calls_are_read_in_the_form_that_the_template_writes),
      cmocka_unit_test(strings_between_marks_are_read_as_they_are),
      cmocka_unit_test(a_mark_in_the_prompt_begins_the_answer),
      cmocka_unit_test(channels_are_told_apart),
      cmocka_unit_test(reasoning_is_told_from_the_answer),
      cmocka_unit_test(a_model_that_knows_no_tools_calls_by_plain_json),
      cmocka_unit_test(what_is_no_call_of_a_tool_is_text),
      cmocka_unit_test(a_streamed_call_that_turns_out_broken_is_text_from_there_on),
      cmocka_unit_test(a_call_after_a_broken_one_is_read),
      cmocka_unit_test(without_tools_calls_are_text),
      cmocka_unit_test(arguments_come_as_they_are_written),
      cmocka_unit_test(hostile_answers_take_time_in_proportion),
      cmocka_unit_test(control_tokens_that_mark_calls_are_shown),
      cmocka_unit_test(tools_are_checked),
      cmocka_unit_test(a_required_call_is_constrained_by_its_schema),
      cmocka_unit_test(strict_tools_are_constrained_where_they_are_called),
      cmocka_unit_test(what_is_constrained_is_read),
      cmocka_unit_test(instructions_tell_of_tools_and_of_the_form),
      cmocka_unit_test(json_is_what_the_standard_says),
      cmocka_unit_test(json_strings_come_back),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
