#include "answer/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define STRING(s)                                           \
  {                                                         \
    .type = EL_VALUE_STRING, .string = { s, sizeof(s) - 1 } \
  }
#define OBJECT(m)                                                     \
  {                                                                   \
    .type = EL_VALUE_OBJECT, .object = { m, sizeof(m) / sizeof *(m) } \
  }
#define ARRAY(m)                                                    \
  {                                                                 \
    .type = EL_VALUE_ARRAY, .array = { m, sizeof(m) / sizeof *(m) } \
  }

/* --- two tools */

static const el_member TEXT_TYPE[] = {{"type", STRING("string")}, {"description", STRING("what")}};
static const el_member NUMBER_TYPE[] = {{"type", STRING("integer")}, {"description", STRING("how many")}};
static const el_member PROPERTIES[] = {{EL_PROBE_KEY, OBJECT(TEXT_TYPE)}, {EL_PROBE_KEY_2, OBJECT(NUMBER_TYPE)}};
static const el_value REQUIRED[] = {STRING(EL_PROBE_KEY)};
static const el_member PARAMETERS[] = {
    {"type", STRING("object")}, {"properties", OBJECT(PROPERTIES)}, {"required", ARRAY(REQUIRED)}};
static const el_member FUNCTION[] = {
    {"name", STRING(EL_PROBE_NAME)}, {"description", STRING("does")}, {"parameters", OBJECT(PARAMETERS)}};
static const el_member FUNCTION_2[] = {
    {"name", STRING(EL_PROBE_NAME_2)}, {"description", STRING("does")}, {"parameters", OBJECT(PARAMETERS)}};
static const el_member TOOL[] = {{"type", STRING("function")}, {"function", OBJECT(FUNCTION)}};
static const el_member TOOL_2[] = {{"type", STRING("function")}, {"function", OBJECT(FUNCTION_2)}};
static const el_value TOOL_LIST[] = {OBJECT(TOOL), OBJECT(TOOL_2)};
static const el_value TOOLS = ARRAY(TOOL_LIST);

/* --- calls of them */

static const el_member ARGUMENTS[] = {{EL_PROBE_KEY, STRING(EL_PROBE_VALUE)},
                                      {EL_PROBE_KEY_2, {.type = EL_VALUE_INTEGER, .integer = 41753}}};
#define ARGUMENTS_TEXT "{\"" EL_PROBE_KEY "\": \"" EL_PROBE_VALUE "\", \"" EL_PROBE_KEY_2 "\": " EL_PROBE_VALUE_2 "}"

static const el_member CALLED[][2] = {{{"name", STRING(EL_PROBE_NAME)}, {"arguments", OBJECT(ARGUMENTS)}},
                                      {{"name", STRING(EL_PROBE_NAME_2)}, {"arguments", OBJECT(ARGUMENTS)}},
                                      {{"name", STRING(EL_PROBE_NAME)}, {"arguments", STRING(ARGUMENTS_TEXT)}},
                                      {{"name", STRING(EL_PROBE_NAME_2)}, {"arguments", STRING(ARGUMENTS_TEXT)}}};

static el_status refuse_template(el_status status, const el_error *why, el_error *err) {
  return status == EL_ERR_NO_MEMORY ? el_fail(err, status, "%s", why->message) : EL_OK;
}

el_status el_probe_render(const el_probe *p, el_probe_turn turn, char **out, size_t *len, el_error *err) {
  size_t kind = p->text_arguments ? 2 : 0;
  const el_member call[] = {{"id", STRING(EL_PROBE_ID)},
                            {"type", STRING("function")},
                            {"function", {.type = EL_VALUE_OBJECT, .object = {CALLED[kind], 2}}}};
  const el_member call_2[] = {{"id", STRING("zqid00002")},
                              {"type", STRING("function")},
                              {"function", {.type = EL_VALUE_OBJECT, .object = {CALLED[kind + 1], 2}}}};
  const el_value calls[] = {OBJECT(call), OBJECT(call_2)};
  const el_member question[] = {{"role", STRING("user")}, {"content", STRING(EL_PROBE_QUESTION)}};
  const el_member system[] = {{"role", STRING("system")}, {"content", STRING(EL_PROBE_SAID)}};
  const el_value told[] = {OBJECT(system), OBJECT(question)};
  const el_member said[] = {{"role", STRING("assistant")},
                            {"content", STRING(EL_PROBE_SAID)},
                            {"reasoning_content", STRING(EL_PROBE_THOUGHT)}};
  const el_member called[] = {
      {"role", STRING("assistant")},
      {"content", STRING("")},
      {"tool_calls", {.type = EL_VALUE_ARRAY, .array = {calls, turn == EL_PROBE_CALLS ? 2 : 1}}}};
  const el_member *answer = turn >= EL_PROBE_CALL ? called : said;
  const el_value messages[] = {OBJECT(question),
                               {.type = EL_VALUE_OBJECT, .object = {answer, turn == EL_PROBE_TEXT ? 2 : 3}}};
  bool opening = turn <= EL_PROBE_OPENING;
  const el_value list = {.type = EL_VALUE_ARRAY, .array = {messages, opening ? 1 : 2}}, with_system = ARRAY(told);
  const el_chat chat = {.messages = turn == EL_PROBE_SYSTEM ? &with_system : &list,
                        .tools = &TOOLS,
                        .add_generation_prompt = opening,
                        .template_instead = p->template};
  el_error why = {0};
  *out = NULL;
  *len = 0;
  return refuse_template(el_chat_text(p->t, &chat, out, len, &why), &why, err);
}
