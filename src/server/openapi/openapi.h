/* GET /openapi.json: OpenAPI 3.1 of all endpoints. What there is comes from the table of routes and the dialects'
 * tables of fields, so that neither an endpoint nor a field is missing or made up; what only people can say, summaries
 * and the forms of answers, from openapi/openapi.json. A test fails when that lacks an endpoint, or has one that is
 * gone. */
#ifndef EL_SERVER_OPENAPI_H
#define EL_SERVER_OPENAPI_H

#include "server/http/route.h"

extern const char el_openapi_text[]; /* JSON */
extern const size_t el_openapi_bytes;

bool el_openapi_get(const el_query *q, el_answer *out, el_api_error *e);

#endif
