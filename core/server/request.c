/* SPDX-License-Identifier: Apache-2.0 */
/* One request: its head, its body, its way through an exchange. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A refused body up to this size is read to its end, so that the connection can be used again;
 * before a larger one the connection is closed. */
enum { DRAIN_BYTES = 256 << 10, FIRST_BODY_BYTES = 16 << 10 };

/* What the headers say about how the body comes. */
struct framing {
    pra__conn *conn;
    unsigned lengths, encodings;
    bool chunked, expects, bad_name, no_memory;
};

static pra__conn *conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static bool stands(const pra__conn *c)
{
    return c->answer.status != 0;
}

/* ---- log and metrics */

static void log_refusal(pra__conn *c, unsigned status, const char *reason, const char *message)
{
    uint64_t dropped;
    if (!pra__log_allowed(&c->server->log, &dropped))
        return;
    char err[320] = "", target[160] = "";
    (void)pra__log_value(err, sizeof(err), 0, message, strlen(message));
    (void)pra__log_value(target, sizeof(target), 0, c->target, c->target_len);
    pra__log_write(&c->server->log.sink, status == 500 ? PRA_LOG_ERROR : PRA_LOG_WARN,
                   "request refused",
                   "code=%u reason=%s err=%s target=%s remote=%s dropped=%" PRIu64, status, reason,
                   err, target, c->remote, dropped);
}

/* Counts the request that x has answered. */
static void account(pra__conn *c, const pra_exchange *x)
{
    pra_exchange_stats stats = {.size = sizeof(stats)};
    if (pra_exchange_get_stats(x, &stats))
        return;
    double seconds = (double)(pra__now_us() - c->began_us) / 1e6;
    pra__metrics_request(&c->server->metrics, &stats, seconds);
    if (stats.status >= 400)
        log_refusal(c, (unsigned)stats.status, pra_error_name(stats.code),
                    pra_exchange_error(x)->message);
}

/* An answer that the server gives by itself. reason: static. */
static void refuse(pra__conn *c, unsigned status, const char *reason, const char *message)
{
    pra__answer_line(&c->answer, status, "%s", message);
    pra__metrics_refused(&c->server->metrics, reason);
    log_refusal(c, status, reason, message);
}

static void refuse_and_close(pra__conn *c, unsigned status, const char *reason, const char *message)
{
    refuse(c, status, reason, message);
    pra__answer_header(&c->answer, "Connection", "close");
}

/* ---- the head */

void *pra__request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    (void)cls;
    pra__conn *c = conn_of(mhd);
    if (!c)
        return NULL;
    pra__conn_enter(c, PRA__HEAD);
    c->target_len = 0;
    size_t len = uri ? strlen(uri) : 0;
    if (len > c->target_cap) {
        char *target = pra__take(c->server, c->target, c->target_cap, len);
        if (!target)
            return NULL; /* an empty target is answered with 404 */
        c->target = target;
        c->target_cap = len;
    }
    if (len)
        memcpy(c->target, uri, len);
    c->target_len = len;
    return NULL;
}

static bool is_token(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)name[i];
        if (ch <= ' ' || ch >= 0x7F || strchr("\"(),/:;<=>?@[\\]{}", ch))
            return false;
    }
    return len > 0;
}

static bool equals_nocase(const char *text, size_t len, const char *lower)
{
    if (len != strlen(lower))
        return false;
    for (size_t i = 0; i < len; i++) {
        char ch = text[i];
        if ((ch >= 'A' && ch <= 'Z' ? ch + 32 : ch) != lower[i])
            return false;
    }
    return true;
}

static bool push_header(pra__conn *c, pra_header header)
{
    if (c->header_count == c->header_cap) {
        size_t cap = c->header_cap ? c->header_cap * 2 : 16;
        pra_header *grown = pra__take(c->server, c->headers, c->header_cap * sizeof(*c->headers),
                                      cap * sizeof(*c->headers));
        if (!grown)
            return false;
        c->headers = grown;
        c->header_cap = cap;
    }
    c->headers[c->header_count++] = header;
    return true;
}

/* libmicrohttpd before 0.9.76 continues the *name* of a header with a line folded below it, and
 * keeps the value: "Content-Length:" above " 9" becomes "Content-Length9". Then a proxy that
 * unfolds, and this server, see two lengths. What shows it: the value does not follow its name. */
static bool is_folded(const char *name, size_t name_len, const char *value)
{
    size_t gap = (uintptr_t)value - (uintptr_t)(name + name_len);
    if (gap == 0 || gap > CONNECTION_BYTES)
        return true;
    for (size_t i = 1; i < gap; i++)
        if (name[name_len + i] != ' ' && name[name_len + i] != '\t')
            return true;
    return false;
}

static enum MHD_Result scan_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    struct framing *f = cls;
    f->bad_name |= !is_token(name, name_len) || is_folded(name, name_len, value);
    if (equals_nocase(name, name_len, "content-length")) {
        f->lengths++;
        f->conn->body_announced = strtoull(value, NULL, 10); /* libmicrohttpd has checked it */
    } else if (equals_nocase(name, name_len, "transfer-encoding")) {
        f->encodings++;
        f->chunked = equals_nocase(value, value_len, "chunked");
    } else if (equals_nocase(name, name_len, "expect")) {
        f->expects = true;
    }
    pra_header header = {{name, name_len}, {value, value_len}};
    f->no_memory |= !push_header(f->conn, header);
    return f->no_memory ? MHD_NO : MHD_YES;
}

static pra_request_head make_head(const pra__conn *c, uint32_t worker)
{
    return (pra_request_head){.size = sizeof(pra_request_head),
                              .method = {c->method, strlen(c->method)},
                              .target = {c->target, c->target_len},
                              .headers = c->headers,
                              .header_count = c->header_count,
                              .remote_addr = {c->remote, strlen(c->remote)},
                              .user = c->user,
                              .worker = worker};
}

/* Asks the handler's rules about the head alone. */
static void check_head(pra__conn *c)
{
    pra_server *s = c->server;
    pra_request_head head = make_head(c, 0);
    pthread_mutex_lock(&s->checker_lock);
    int rc = pra_exchange_begin(s->checker, &head);
    if (rc == PRA_DONE) {
        pra__answer_copy(&c->answer, s, s->checker);
        account(c, s->checker);
    }
    pthread_mutex_unlock(&s->checker_lock);
    if (rc < 0)
        refuse(c, 503, pra_error_name(rc), pra_strerror(rc));
}

/* Answers what can be answered without the body. Where the two sides could disagree about the end
 * of this request, the connection ends with it. */
static void decide(pra__conn *c, const struct framing *f)
{
    pra__refusal why;
    if (f->no_memory)
        refuse_and_close(c, 503, "nomem", "out of memory: try again later");
    else if (f->bad_name)
        refuse_and_close(c, 400, "framing", "a header name contains an invalid character");
    else if (f->encodings && f->lengths)
        refuse_and_close(c, 400, "framing",
                         "both Content-Length and Transfer-Encoding: send one of them");
    else if (f->lengths > 1)
        refuse_and_close(c, 400, "framing", "more than one Content-Length");
    else if (f->encodings > 1 || (f->encodings && !f->chunked))
        refuse_and_close(c, 400, "framing", "only Transfer-Encoding: chunked is supported");
    else if (!pra__entrance_admit(c, &why))
        refuse(c, why.status, why.reason, why.message);
    else
        pra__page(c, &c->answer);
    if (!stands(c) && atomic_load(&c->server->stopping))
        refuse_and_close(c, 503, "stopping", "this server is shutting down: try again later");
    if (!stands(c) && c->surplus)
        refuse_and_close(c, 503, "connections", "too many connections: try again later");
    if (!stands(c))
        check_head(c);
}

static enum MHD_Result send_answer(pra__conn *c)
{
    pra__answer a = c->answer;
    c->answer = (pra__answer){NULL, 0};
    pra__conn_enter(c, PRA__SENDING);
    pra__entrance_answer(c, &a);
    if (!a.response)
        return MHD_queue_response(c->mhd, 503, c->server->unavailable);
    enum MHD_Result rc = MHD_queue_response(c->mhd, a.status, a.response);
    MHD_destroy_response(a.response);
    return rc;
}

static enum MHD_Result on_head(pra__conn *c, const char *method)
{
    struct framing f = {.conn = c};
    pra__conn_begin(c);
    c->method = method;
    (void)MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, scan_header, &f);
    decide(c, &f);
    bool unusable = f.bad_name || f.encodings || f.lengths > 1 || f.expects;
    if (!stands(c) || (!unusable && c->body_announced <= DRAIN_BYTES))
        return MHD_YES;
    c->early = true;
    return send_answer(c);
}

/* ---- the body */

static void drop_body(pra__conn *c)
{
    pra__give(c->server, c->body, c->body_cap);
    atomic_fetch_sub(&c->server->metrics.pending_bytes, c->body_cap);
    c->body = NULL;
    c->body_len = c->body_cap = 0;
}

/* Room for len bytes more, in steps that double: an announced length alone takes no memory. */
static bool reserve(pra__conn *c, size_t len)
{
    pra_server *s = c->server;
    size_t need = c->body_len + len;
    if (need <= c->body_cap)
        return true;
    size_t cap = c->body_cap ? c->body_cap * 2 : FIRST_BODY_BYTES;
    if (cap > c->body_announced && c->body_announced >= need)
        cap = (size_t)c->body_announced;
    if (cap < need)
        cap = need;
    size_t more = cap - c->body_cap;
    if (atomic_fetch_add(&s->metrics.pending_bytes, more) + more <= s->opts.max_pending_bytes) {
        char *grown = pra__take(s, c->body, c->body_cap, cap);
        if (grown) {
            c->body = grown;
            c->body_cap = cap;
            return true;
        }
    }
    atomic_fetch_sub(&s->metrics.pending_bytes, more);
    return false;
}

/* A chunked body has become larger than allowed: the answer is the one it would have had if it had
 * announced its length. */
static void refuse_large(pra__conn *c)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%" PRIu64, c->body_total);
    pra_header length = {{"Content-Length", 14}, {digits, (size_t)n}};
    drop_body(c);
    if (push_header(c, length))
        check_head(c);
    if (!stands(c))
        refuse(c, 413, "body_too_large", "the body is too large");
}

static void on_body(pra__conn *c, const char *data, size_t len)
{
    c->body_total += len;
    if (stands(c))
        return;
    if (c->body_total > c->server->max_body_bytes) {
        refuse_large(c);
    } else if (!reserve(c, len)) {
        drop_body(c);
        refuse(c, 503, "nomem", "too many requests at once: try again later");
    } else {
        memcpy(c->body + c->body_len, data, len);
        c->body_len += len;
    }
}

/* ---- the work */

/* Asks the storage, with the queries counted as in flight. */
static int ask(pra_server *s, pra_exchange *x)
{
    pra_exchange_stats stats = {.size = sizeof(stats)};
    (void)pra_exchange_get_stats(x, &stats);
    atomic_fetch_add(&s->metrics.read_queries, stats.queries);
    int rc = pra_exchange_run(x);
    atomic_fetch_sub(&s->metrics.read_queries, stats.queries);
    return rc;
}

static void work(pra__conn *c, pra__worker *w)
{
    pra_server *s = c->server;
    pra_exchange *x = w->exchange;
    pra_request_head head = make_head(c, w->index);
    int rc = pra_exchange_begin(x, &head);
    if (rc == PRA_OK && c->body_len)
        rc = pra_exchange_feed(x, c->body, c->body_len);
    drop_body(c);
    if (rc == PRA_OK)
        rc = pra_exchange_end(x);
    if (rc == PRA_OK)
        rc = ask(s, x);
    if (pra_exchange_status(x) == 0) {
        refuse(c, 503, pra_error_name(rc), pra_strerror(rc));
        pra__worker_give(s, w);
        return;
    }
    account(c, x);
    pra__answer_worker(&c->answer, s, w);
}

static enum MHD_Result on_end(pra__conn *c)
{
    if (!stands(c)) {
        pra_error err = {0};
        pra__conn_enter(c, PRA__BUSY);
        pra__worker *w = pra__worker_take(c->server, &err);
        if (w)
            work(c, w);
        else
            refuse(c, 503, pra_error_name(err.code), err.message);
    }
    return send_answer(c);
}

enum MHD_Result pra__request(void *cls, struct MHD_Connection *mhd, const char *url,
                             const char *method, const char *version, const char *data,
                             size_t *data_len, void **context)
{
    (void)url, (void)version, (void)context;
    pra__conn *c = conn_of(mhd);
    if (!c)
        return MHD_queue_response(mhd, 503, ((pra_server *)cls)->unavailable);
    if (!c->begun)
        return on_head(c, method);
    if (*data_len == 0)
        return on_end(c);
    on_body(c, data, *data_len);
    *data_len = 0;
    return MHD_YES;
}

void pra__request_completed(void *cls, struct MHD_Connection *mhd, void **context,
                            enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)context;
    pra__conn *c = conn_of(mhd);
    if (!c)
        return;
    bool linger = c->early || code == MHD_REQUEST_TERMINATED_WITH_ERROR;
    drop_body(c);
    if (c->answer.response)
        MHD_destroy_response(c->answer.response);
    c->answer = (pra__answer){NULL, 0};
    pra__entrance_leave(c);
    c->header_count = 0;
    c->body_total = c->body_announced = 0;
    c->early = false;
    pra__conn_done(c);
    if (linger)
        pra__conn_linger(c);
}
