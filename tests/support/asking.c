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

int asking_begin(struct asking *a, const pra_alloc *alloc, const pra_storage *storage,
                 pra_str tenant, const pra_read_request *request, const pra_limits *limits,
                 pra_error *err)
{
    const pra_storage borrowed = {&a->vtbl, storage->self};
    const pra_handler_opts opts = {.size = sizeof opts, .limits = limits};
    pra_buffer *message = NULL, *packed = NULL;
    a->handler = NULL;
    a->x = NULL;
    a->vtbl = *storage->vtbl;
    a->vtbl.destroy = NULL;
    require(pra_handler_new(alloc, &borrowed, &opts, &a->handler, NULL) == PRA_OK &&
            pra_exchange_new(a->handler, NULL, &a->x) == PRA_OK &&
            pra_buffer_new(NULL, &message) == PRA_OK && pra_buffer_new(NULL, &packed) == PRA_OK &&
            pra_read_request_encode(request, message, NULL) == PRA_OK &&
            pra_snappy_compress(pra_buffer_data(message), pra_buffer_len(message), packed, NULL) ==
                PRA_OK);
    send(a->x, tenant, packed);
    pra_buffer_free(packed);
    pra_buffer_free(message);
    if (pra_exchange_status(a->x) == 200)
        return PRA_OK;
    if (err)
        *err = *pra_exchange_error(a->x);
    return pra_exchange_error(a->x)->code;
}

int asking_next(struct asking *a, const void **data, size_t *len, pra_error *err)
{
    int code = pra_exchange_body(a->x, data, len);
    if (code < 0 && err)
        *err = *pra_exchange_error(a->x);
    return code;
}

void asking_end(struct asking *a)
{
    pra_exchange_free(a->x);
    pra_handler_free(a->handler);
}

int ask_storage(const pra_storage *storage, pra_str tenant, const pra_read_request *request,
                const pra_limits *limits, pra_buffer *body, pra_error *err)
{
    struct asking a;
    const void *piece = NULL;
    size_t len = 0;
    int code = asking_begin(&a, NULL, storage, tenant, request, limits, err);
    while (code == PRA_OK && (code = asking_next(&a, &piece, &len, err)) == PRA_OK)
        require(pra_buffer_append(body, piece, len) == PRA_OK);
    asking_end(&a);
    return code == PRA_DONE ? PRA_OK : code;
}
