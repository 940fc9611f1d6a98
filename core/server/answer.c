/* SPDX-License-Identifier: Apache-2.0 */
/* Answers as libmicrohttpd wants them. */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { COPY_BYTES = 256 << 10, BLOCK_BYTES = 64 << 10, HEADER_BYTES = 1024 };

void pra__answer_header(pra__answer *a, const char *name, const char *value)
{
    if (a->response && value)
        (void)MHD_add_response_header(a->response, name, value);
}

void pra__answer_text(pra__answer *out, unsigned status, const char *content_type, const void *text,
                      size_t len)
{
    out->status = status;
    out->response = /* copies; the cast is for its signature */
        MHD_create_response_from_buffer(len, (void *)text, MHD_RESPMEM_MUST_COPY);
    pra__answer_header(out, "Content-Type", content_type);
}

void pra__answer_line(pra__answer *out, unsigned status, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text) - 1, fmt, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof(text) - 1 ? (size_t)n : sizeof(text) - 2;
    text[len++] = '\n';
    pra__answer_text(out, status, "text/plain; charset=utf-8", text, len);
}

void pra__answer_headers(pra__answer *a, const pra_exchange *x)
{
    const pra_header *headers = NULL;
    size_t count = pra_exchange_headers(x, &headers);
    for (size_t i = 0; i < count; i++) {
        char name[128], value[HEADER_BYTES];
        if (headers[i].name.len >= sizeof(name) || headers[i].value.len >= sizeof(value))
            continue;
        (void)snprintf(name, sizeof(name), "%.*s", (int)headers[i].name.len, headers[i].name.ptr);
        (void)snprintf(value, sizeof(value), "%.*s", (int)headers[i].value.len,
                       headers[i].value.len ? headers[i].value.ptr : "");
        pra__answer_header(a, name, value);
    }
}

static void no_answer(pra__answer *out, const char *why)
{
    pra__answer_line(out, 503, "%s: try again later", why);
}

void pra__answer_copy(pra__answer *out, pra_server *s, pra_exchange *x)
{
    pra_buffer *whole = NULL;
    const void *piece = NULL;
    size_t len = 0;
    int rc = pra_buffer_new(&s->alloc, &whole);
    while (rc == PRA_OK && (rc = pra_exchange_body(x, &piece, &len)) == PRA_OK)
        rc = pra_buffer_append(whole, piece, len);
    if (rc == PRA_DONE) {
        pra__answer_text(out, (unsigned)pra_exchange_status(x), NULL, pra_buffer_data(whole),
                         pra_buffer_len(whole));
        pra__answer_headers(out, x);
    } else {
        no_answer(out, "out of memory");
    }
    pra_buffer_free(whole);
}

/* ---- large answers wait for their client in memory of their own: no client, however slow, holds a
 * worker or what the worker needed to make the answer */

struct large {
    pra_server *server;
    size_t len;
    char bytes[];
};

static ssize_t read_large(void *cls, uint64_t pos, char *buf, size_t max)
{
    const struct large *l = cls;
    size_t left = l->len - (size_t)pos;
    size_t n = left < max ? left : max;
    memcpy(buf, l->bytes + pos, n);
    return (ssize_t)n;
}

static void free_large(void *cls)
{
    struct large *l = cls;
    pra_server *s = l->server;
    atomic_fetch_sub(&s->metrics.pending_answer_bytes, l->len);
    pra__give(s, l, sizeof(*l) + l->len);
}

/* Room for an answer of len bytes. NULL if those that wait already leave none. */
static struct large *large_new(pra_server *s, size_t len)
{
    atomic_uint_fast64_t *pending = &s->metrics.pending_answer_bytes;
    struct large *l = NULL;
    if (len > s->opts.max_pending_bytes)
        return NULL;
    if (atomic_fetch_add(pending, len) + len <= s->opts.max_pending_bytes)
        l = pra__take(s, NULL, 0, sizeof(*l) + len);
    if (l)
        *l = (struct large){.server = s, .len = len};
    else
        atomic_fetch_sub(pending, len);
    return l;
}

/* false: the answer is not as long as it said. */
static bool fill_large(struct large *l, pra_exchange *x)
{
    const void *piece = NULL;
    size_t at = 0, len = 0;
    while (pra_exchange_body(x, &piece, &len) == PRA_OK && len <= l->len - at) {
        memcpy(l->bytes + at, piece, len);
        at += len;
    }
    return at == l->len;
}

static void answer_large(pra__answer *out, pra_server *s, pra_exchange *x, size_t length)
{
    struct large *l = large_new(s, length);
    if (!l) {
        pra__metrics_refused(&s->metrics, "nomem");
        no_answer(out, "too many large answers are being sent");
        return;
    }
    if (!fill_large(l, x)) {
        free_large(l);
        no_answer(out, "the answer broke off");
        return;
    }
    out->status = (unsigned)pra_exchange_status(x);
    out->response =
        MHD_create_response_from_callback(l->len, BLOCK_BYTES, read_large, l, free_large);
    if (out->response)
        pra__answer_headers(out, x);
    else
        free_large(l);
}

void pra__answer_worker(pra__conn *c, pra__worker *w)
{
    pra_server *s = c->server;
    uint64_t length = pra_exchange_body_length(w->exchange);
    if (length == UINT64_MAX) {
        if (!pra__stream_answer(c, w))
            no_answer(&c->answer, "out of memory");
    } else if (length > COPY_BYTES) {
        answer_large(&c->answer, s, w->exchange, (size_t)length);
        pra_exchange_free(w->exchange); /* too much memory to keep for a next time */
        w->exchange = NULL;
    } else {
        pra__answer_copy(&c->answer, s, w->exchange);
    }
    pra__worker_give(s, w);
}
