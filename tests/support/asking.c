/* SPDX-License-Identifier: Apache-2.0 */
#include "support/asking.h"

#include <stdlib.h>

#define STR(literal)                                                                               \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

static void require(int ok)
{
    if (!ok)
        abort();
}

static void send(pra_exchange *x, pra_str tenant, const pra_buffer *body)
{
    const pra_header headers[] = {
        {STR("Content-Encoding"), STR("snappy")},
        {STR("Content-Type"), STR("application/x-protobuf")},
        {STR("X-Scope-OrgID"), tenant},
    };
    const pra_request_head head = {.size = sizeof head,
                                   .method = STR("POST"),
                                   .target = STR("/api/v1/read"),
                                   .headers = headers,
                                   .header_count = tenant.len ? 3 : 2};
    if (pra_exchange_begin(x, &head) == PRA_OK &&
        pra_exchange_feed(x, pra_buffer_data(body), pra_buffer_len(body)) == PRA_OK &&
        pra_exchange_end(x) == PRA_OK)
        require(pra_exchange_run(x) == PRA_OK);
}

static int take_answer(pra_exchange *x, pra_buffer *body, pra_error *err)
{
    int code = pra_exchange_status(x) == 200 ? PRA_OK : pra_exchange_error(x)->code;
    const void *piece;
    size_t len;
    while (code == PRA_OK && (code = pra_exchange_body(x, &piece, &len)) == PRA_OK)
        require(pra_buffer_append(body, piece, len) == PRA_OK);
    if (code < 0 && err)
        *err = *pra_exchange_error(x);
    return code == PRA_DONE ? PRA_OK : code;
}

int ask_storage(const pra_storage *storage, pra_str tenant, const pra_read_request *request,
                const pra_limits *limits, pra_buffer *body, pra_error *err)
{
    pra_storage_vtbl vtbl = *storage->vtbl;
    const pra_storage borrowed = {&vtbl, storage->self};
    const pra_handler_opts opts = {.size = sizeof opts, .limits = limits};
    pra_handler *handler = NULL;
    pra_exchange *x = NULL;
    pra_buffer *message = NULL, *packed = NULL;
    vtbl.destroy = NULL;
    require(pra_handler_new(NULL, &borrowed, &opts, &handler, NULL) == PRA_OK &&
            pra_exchange_new(handler, NULL, &x) == PRA_OK &&
            pra_buffer_new(NULL, &message) == PRA_OK && pra_buffer_new(NULL, &packed) == PRA_OK &&
            pra_read_request_encode(request, message, NULL) == PRA_OK &&
            pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), packed, NULL) ==
                PRA_OK);
    send(x, tenant, packed);
    int code = take_answer(x, body, err);
    pra_buffer_free(packed);
    pra_buffer_free(message);
    pra_exchange_free(x);
    pra_handler_free(handler);
    return code;
}
