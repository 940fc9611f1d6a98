/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_REMOTE_CONTEXT_H
#define PRA_REMOTE_CONTEXT_H

#include "base/arena.h"
#include "pra.h"

struct pra_context {
    pra_str method;
    pra_str path;
    pra_str query_string;
    pra_str tenant;
    pra_str remote_addr;
    pra_str user;
    const pra_header *headers;
    size_t header_count;
    uint32_t worker;
    void *host;
    int (*cancelled)(void *host); /* may be NULL */
};

/* Copies head into arena. Returns PRA_OK, PRA_ERR_NOMEM, or PRA_ERR_HEAD_TOO_LARGE when its strings
 * are longer than max_bytes. */
int pra__context_init(pra_context *ctx, pra_arena *arena, const pra_request_head *head,
                      pra_str tenant_header, uint64_t max_bytes);

/* The header's value. Returns the number of headers of that name; *out is the first one's value. */
size_t pra__context_header_count(const pra_context *ctx, const char *name_cstr, pra_str *out);

#endif
