/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/context.h"

#include <string.h>

#include "remote/http.h"

static uint64_t head_bytes(const pra_request_head *head)
{
    uint64_t n = (uint64_t)head->method.len + head->target.len;
    for (size_t i = 0; i < head->header_count; i++)
        n += head->headers[i].name.len + head->headers[i].value.len + sizeof(pra_header);
    return n;
}

static int copy_headers(pra_context *ctx, pra_arena *arena, const pra_request_head *head)
{
    pra_header *headers =
        pra_arena_alloc(arena, (head->header_count + 1) * sizeof(*headers), sizeof(void *));
    if (!headers)
        return PRA_ERR_NOMEM;
    for (size_t i = 0; i < head->header_count; i++)
        if (pra__arena_str(arena, head->headers[i].name, &headers[i].name) ||
            pra__arena_str(arena, pra__trim(head->headers[i].value), &headers[i].value))
            return PRA_ERR_NOMEM;
    ctx->headers = headers;
    ctx->header_count = head->header_count;
    return PRA_OK;
}

int pra__context_init(pra_context *ctx, pra_arena *arena, const pra_request_head *head,
                      pra_str tenant_header, uint64_t max_bytes)
{
    pra_str target;
    *ctx = (pra_context){.worker = head->worker, .host = head->host, .cancelled = head->cancelled};
    if (head_bytes(head) > max_bytes)
        return PRA_ERR_HEAD_TOO_LARGE;
    if (pra__arena_str(arena, head->method, &ctx->method) ||
        pra__arena_str(arena, head->target, &target) ||
        pra__arena_str(arena, head->remote_addr, &ctx->remote_addr) ||
        pra__arena_str(arena, head->user, &ctx->user) || copy_headers(ctx, arena, head))
        return PRA_ERR_NOMEM;
    pra__split_target(target, &ctx->path, &ctx->query_string);
    if (tenant_header.len)
        pra_context_header(ctx, tenant_header, &ctx->tenant);
    return PRA_OK;
}

void pra_context_tenant(const pra_context *ctx, pra_str *out)
{
    *out = ctx->tenant;
}

void pra_context_path(const pra_context *ctx, pra_str *out)
{
    *out = ctx->path;
}

void pra_context_query_string(const pra_context *ctx, pra_str *out)
{
    *out = ctx->query_string;
}

void pra_context_remote_addr(const pra_context *ctx, pra_str *out)
{
    *out = ctx->remote_addr;
}

void pra_context_user(const pra_context *ctx, pra_str *out)
{
    *out = ctx->user;
}

static size_t count_headers(const pra_context *ctx, pra_str name, pra_str *out)
{
    size_t count = 0;
    *out = (pra_str){NULL, 0};
    for (size_t i = 0; i < ctx->header_count; i++)
        if (pra__str_eq_nocase(ctx->headers[i].name, name) && count++ == 0)
            *out = ctx->headers[i].value;
    return count;
}

int pra_context_header(const pra_context *ctx, pra_str name, pra_str *out)
{
    return count_headers(ctx, name, out) > 0;
}

size_t pra__context_header_count(const pra_context *ctx, const char *name_cstr, pra_str *out)
{
    return count_headers(ctx, (pra_str){name_cstr, strlen(name_cstr)}, out);
}

size_t pra_context_headers(const pra_context *ctx, const pra_header **out)
{
    *out = ctx->headers;
    return ctx->header_count;
}

uint32_t pra_context_worker(const pra_context *ctx)
{
    return ctx->worker;
}

void *pra_context_host(const pra_context *ctx)
{
    return ctx->host;
}
