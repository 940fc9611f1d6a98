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
    pra__metrics_request(&c->server->metrics, &stats, pra__conn_seconds(c));
    if (stats.status >= 400 && stats.code != PRA_ERR_CANCELLED)
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
    c->raw_target = NULL;
    c->target_len = uri ? strlen(uri) : 0;
    if (c->target_len > c->target_cap) {
        char *target = pra__take(c->server, c->target, c->target_cap, c->target_len);
        if (!target) {
            c->target_len = 0;
            return NULL;
        }
        c->target = target;
        c->target_cap = c->target_len;
    }
    if (c->target_len)
        memcpy(c->target, uri, c->target_len);
    c->raw_target = uri;
    return NULL;
}

static pra_request_head make_head(pra__conn *c, uint32_t worker)
{
    return (pra_request_head){.size = sizeof(pra_request_head),
                              .method = {c->method, strlen(c->method)},
                              .target = {c->target, c->target_len},
                              .headers = c->headers,
                              .header_count = c->header_count,
                              .remote_addr = {c->remote, strlen(c->remote)},
                              .user = c->user,
                              .worker = worker,
                              .host = c,
                              .cancelled = pra__conn_is_gone};
}

/* Asks the handler's rules about the head alone; what it refuses is also told to why. */
static void check_head(pra__conn *c, pra_error *why)
{
    pra_server *s = c->server;
    pra_request_head head = make_head(c, 0);
    pthread_mutex_lock(&s->checker_lock);
    int rc = pra_exchange_begin(s->checker, &head);
    pra_exchange_stats stats = {.size = sizeof(stats)};
    (void)pra_exchange_get_stats(s->checker, &stats);
    c->is_read = stats.endpoint == PRA_ENDPOINT_READ;
    if (rc == PRA_DONE) {
        pra__answer_copy(&c->answer, s, s->checker);
        account(c, s->checker);
        *why = *pra_exchange_error(s->checker);
    }
    pthread_mutex_unlock(&s->checker_lock);
    if (rc < 0)
        refuse(c, 503, pra_error_name(rc), pra_strerror(rc));
}

/* Answers what can be answered without the body. Where the two sides could disagree about the end
 * of this request, the connection ends with it. */
static void decide(pra__conn *c, bool read, const char *wrong)
{
    pra_error why = {0};
    pra__refusal door;
    if (!read)
        refuse_and_close(c, 503, "nomem", "out of memory: try again later");
    else if (wrong)
        refuse_and_close(c, 400, "framing", wrong);
    else if (!pra__entrance_admit(c, &door))
        refuse(c, door.status, door.reason, door.message);
    else
        pra__page(c, &c->answer);
    if (!stands(c) && atomic_load(&c->server->stopping))
        refuse_and_close(c, 503, "stopping", "this server is shutting down: try again later");
    if (!stands(c) && c->surplus)
        refuse_and_close(c, 503, "connections", "too many connections: try again later");
    if (!stands(c))
        check_head(c, &why);
}

static enum MHD_Result send_answer(pra__conn *c)
{
    if (c->chunked) { /* what comes after it could be a part of it for others: see head.c */
        c->linger = true;
        pra__answer_header(&c->answer, "Connection", "close");
    }
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

static enum MHD_Result on_head(pra__conn *c, const char *method, const char *version)
{
    const char *wrong = NULL;
    pra__conn_begin(c);
    c->method = method;
    bool read = pra__head_read(c, version, &wrong);
    decide(c, read, wrong);
    bool unusable = !read || wrong || c->chunked || c->expects;
    if (!stands(c) || (!unusable && c->body_announced <= DRAIN_BYTES))
        return MHD_YES;
    c->linger = true;
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
static void refuse_large(pra__conn *c, pra_error *why)
{
    char digits[24];
    int n = snprintf(digits, sizeof(digits), "%" PRIu64, c->body_total);
    pra_header length = {{"Content-Length", 14}, {digits, (size_t)n}};
    (void)pra_error_set_cstr(why, PRA_ERR_BODY_TOO_LARGE, pra_strerror(PRA_ERR_BODY_TOO_LARGE));
    if (pra__head_add(c, length)) {
        check_head(c, why);
        c->header_count--; /* its digits are not to be looked at later */
    }
    if (!stands(c))
        refuse(c, 413, pra_error_name(why->code), why->message);
}

static void keep_body(pra__conn *c, const char *data, size_t len, pra_error *why)
{
    if (c->body_total > c->server->max_body_bytes) {
        refuse_large(c, why);
    } else if (!reserve(c, len)) {
        (void)pra_error_set_cstr(why, PRA_ERR_NOMEM, "too many requests at once: try again later");
        refuse(c, 503, pra_error_name(why->code), why->message);
    } else {
        memcpy(c->body + c->body_len, data, len);
        c->body_len += len;
    }
    if (stands(c))
        drop_body(c);
}

/* libmicrohttpd takes an answer before the body or after it, and a chunked body may have no end. So
 * the answer goes past it. */
static void answer_now(pra__conn *c, const char *why)
{
    char text[512];
    int n = snprintf(text, sizeof(text),
                     "HTTP/1.1 %u %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n%s\n",
                     c->answer.status, MHD_get_reason_phrase_for(c->answer.status), strlen(why) + 1,
                     why);
    pra__entrance_send(c, text, (size_t)n);
}

static enum MHD_Result on_body(pra__conn *c, const char *data, size_t len)
{
    pra_error why = {0};
    c->body_total += len;
    if (stands(c))
        return MHD_YES;
    keep_body(c, data, len, &why);
    if (!stands(c) || !c->chunked)
        return MHD_YES;
    answer_now(c, why.message);
    return MHD_NO; /* ends the connection */
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
    if (pra_exchange_body_length(x) != UINT64_MAX) /* else at its end */
        account(c, x);
    pra__answer_worker(c, w);
}

/* The request is complete. */
static void serve(pra__conn *c)
{
    pra_server *s = c->server;
    pra_error err = {0};
    pra__worker *w = NULL;
    pra__conn_enter(c, PRA__BUSY);
    c->reading = c->is_read && pra__read_enter(s, &err) == PRA_OK;
    if (c->reading == c->is_read)
        w = pra__worker_take(s, &err);
    if (w) {
        work(c, w);
    } else {
        refuse(c, 503, pra_error_name(err.code), err.message);
        pra__answer_header(&c->answer, "Retry-After", "1");
    }
    if (c->reading)
        pra__read_leave(s);
    c->reading = false;
}

static enum MHD_Result on_end(pra__conn *c)
{
    if (!stands(c))
        serve(c);
    return send_answer(c);
}

enum MHD_Result pra__request(void *cls, struct MHD_Connection *mhd, const char *url,
                             const char *method, const char *version, const char *data,
                             size_t *data_len, void **context)
{
    (void)url, (void)context;
    pra__conn *c = conn_of(mhd);
    if (!c)
        return MHD_queue_response(mhd, 503, ((pra_server *)cls)->unavailable);
    if (!c->begun)
        return on_head(c, method, version);
    if (*data_len == 0)
        return on_end(c);
    size_t len = *data_len;
    *data_len = 0;
    return on_body(c, data, len);
}

void pra__request_completed(void *cls, struct MHD_Connection *mhd, void **context,
                            enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)context;
    pra__conn *c = conn_of(mhd);
    if (!c)
        return;
    bool linger = c->linger || code == MHD_REQUEST_TERMINATED_WITH_ERROR;
    drop_body(c);
    if (c->answer.response)
        MHD_destroy_response(c->answer.response);
    c->answer = (pra__answer){NULL, 0};
    pra__entrance_leave(c);
    atomic_store(&c->streaming, false);
    pra__conn_done(c);
    c->header_count = c->head_bytes = 0;
    c->body_total = c->body_announced = 0;
    c->linger = c->chunked = c->expects = c->is_read = false;
    if (linger)
        pra__conn_linger(c);
}
