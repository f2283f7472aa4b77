/* OpenAI's Responses. responses_input.c rewrites a body to that of a chat, so everything that chats can do works here.
 * responses_writer.c writes the answer as items, and it is stored to be continued (stored.h). */
#include <limits.h>

#include "server/dialects/openai.h"
#include "server/dialects/responses.h"

/* {"format": like a chat's response_format}; "verbosity" is ignored. */
static bool read_text_format(el_api_parse *p, const el_field *f, const json_t *v) {
  if (!json_is_object(v)) return el_api_type_error(p, f->name, "an object", v);
  const json_t *format = json_object_get(v, "format");
  const el_field named = EL_FIELD("text.format", 0, NULL);
  return !format || json_is_null(format) || el_read_response_format(p, &named, format);
}

/* Fields beside those of chats. el_responses_prepare makes the first one. */
static const el_field FIELDS[] = {
    {"max_output_tokens", 0, el_read_max_tokens, EL_FIELD_AT(request.max_tokens), -1, INT_MAX, EL_PRESET_MAX_TOKENS},
    EL_FIELD("input", 0, el_read_kept),
    EL_FIELD("instructions", 0, el_read_kept),
    EL_FIELD("previous_response_id", 0, el_read_kept),
    EL_FIELD("text", 0, read_text_format),
    EL_FIELD("reasoning", 0, el_read_ignored),  /* ignored: templates decide how long the model thinks */
    EL_FIELD("truncation", 0, el_read_ignored), /* "disabled" is what happens */
    EL_FIELD("include", 0, el_read_ignored),
    EL_FIELD("max_tool_calls", 0, el_read_ignored), /* of tools that a server runs */
    EL_FIELD("background", 0, el_read_unsupported),
    EL_FIELD("conversation", 0, el_read_unsupported),
    EL_FIELD("prompt", 0, el_read_unsupported), /* a template that is kept by its id */
};

static bool check_responses(el_api_parse *p) {
  if (p->out->n != 1)
    return el_api_fail(p->error, 400, "unsupported_value", "n", "Unsupported value for 'n': a response is one answer.");
  return el_openai_check_chat(p);
}

const el_api el_api_responses = {.name = "response",
                                 .id_prefix = "resp_",
                                 .fields = FIELDS,
                                 .n_fields = sizeof FIELDS / sizeof *FIELDS,
                                 .shared = EL_AT_CHAT,
                                 .defaults = el_openai_chat_defaults,
                                 .prepare = el_responses_prepare,
                                 .check = check_responses,
                                 .read_prompts = el_api_messages_read,
                                 .writer = &el_responses_writer};

const el_api el_api_responses_count = {.name = "response count",
                                       .id_prefix = "resp_",
                                       .fields = FIELDS,
                                       .n_fields = sizeof FIELDS / sizeof *FIELDS,
                                       .shared = EL_AT_CHAT,
                                       .defaults = el_openai_chat_defaults,
                                       .prepare = el_responses_prepare,
                                       .check = check_responses,
                                       .read_prompts = el_api_messages_read,
                                       .answer = el_openai_write_count};
