/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streamed answers, and the gate that all reads go through.
 *
 * A streamed answer is made while it is sent: libmicrohttpd asks for a piece when the socket has
 * taken the one before, and the exchange asks the storage, on the connection's thread. The exchange
 * is the stream's own, so that a slow reader holds no worker, but one of max_concurrent_reads
 * places.
 */
#include "internal.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { BLOCK_BYTES = 64 << 10 };

/* ---- the gate */

int pra__read_enter(pra_server *s, pra_error *err)
{
    struct timespec until = pra__wait_end(s);
    int rc = 0;
    pthread_mutex_lock(&s->workers_lock);
    while (s->reads >= s->opts.max_concurrent_reads && !s->cut && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&s->read_done, &s->workers_lock, &until);
    bool there = s->reads < s->opts.max_concurrent_reads && !s->cut;
    s->reads += there;
    pthread_mutex_unlock(&s->workers_lock);
    atomic_fetch_add(&s->metrics.reads, there);
    return there ? PRA_OK
                 : pra_error_set_cstr(err, PRA_ERR_BUSY, "too many reads at once: try again later");
}

void pra__read_leave(pra_server *s)
{
    atomic_fetch_sub(&s->metrics.reads, 1);
    pthread_mutex_lock(&s->workers_lock);
    s->reads--;
    pthread_cond_signal(&s->read_done);
    pthread_mutex_unlock(&s->workers_lock);
}

/* ---- one answer */

struct stream {
    pra_server *server;
    pra__conn *conn;
    pra_exchange *exchange; /* NULL when there is no more to come */
    const char *piece;
    size_t left; /* of it */
    uint64_t queries;
    double seconds; /* until the answer stood */
};

static void log_failure(pra__conn *c, int rc, const pra_exchange *x)
{
    uint64_t dropped;
    char err[320] = "";
    const char *why = pra_exchange_error(x)->message;
    if (!pra__log_allowed(&c->server->log, &dropped))
        return;
    (void)pra__log_value(err, sizeof(err), 0, why, strlen(why));
    pra__log_write(&c->server->log.sink, PRA_LOG_ERROR, "streamed answer broken off",
                   "reason=%s err=%s remote=%s dropped=%" PRIu64, pra_error_name(rc), err,
                   c->remote, dropped);
}

/* There will be no further piece; code: PRA_OK or why. */
static void finish(struct stream *st, int32_t code)
{
    pra_server *s = st->server;
    pra_exchange_stats stats = {.size = sizeof(stats)};
    (void)pra_exchange_get_stats(st->exchange, &stats);
    stats.code = code;
    pra__metrics_request(&s->metrics, &stats, st->seconds);
    atomic_fetch_sub(&s->metrics.read_queries, st->queries);
    pra_exchange_free(st->exchange);
    st->exchange = NULL;
    pra__read_leave(s);
}

/* The time that the storage takes is not the reader's. */
static int next_piece(struct stream *st)
{
    const void *data = NULL;
    int rc;
    pra__conn_enter(st->conn, PRA__BUSY);
    do
        rc = pra_exchange_body(st->exchange, &data, &st->left);
    while (rc == PRA_OK && st->left == 0);
    pra__conn_enter(st->conn, PRA__SENDING);
    st->piece = data;
    if (rc < 0) {
        if (rc != PRA_ERR_CANCELLED)
            log_failure(st->conn, rc, st->exchange);
        pra__conn_abort(st->conn);
    }
    if (rc != PRA_OK)
        finish(st, rc == PRA_DONE ? PRA_OK : rc);
    return rc;
}

static ssize_t read_stream(void *cls, uint64_t pos, char *buf, size_t max)
{
    (void)pos;
    struct stream *st = cls;
    int rc = st->left ? PRA_OK : next_piece(st);
    if (rc != PRA_OK)
        return rc == PRA_DONE ? MHD_CONTENT_READER_END_OF_STREAM
                              : MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = st->left < max ? st->left : max;
    memcpy(buf, st->piece, n);
    st->piece += n;
    st->left -= n;
    atomic_fetch_add(&st->server->metrics.streamed_bytes, n);
    return (ssize_t)n;
}

static void free_stream(void *cls)
{
    struct stream *st = cls;
    if (st->exchange) /* the reader is gone */
        finish(st, PRA_ERR_CANCELLED);
    pra__give(st->server, st, sizeof(*st));
}

bool pra__stream_answer(pra__conn *c, pra__worker *w)
{
    pra_server *s = c->server;
    pra_exchange_stats stats = {.size = sizeof(stats)};
    struct stream *st = pra__take(s, NULL, 0, sizeof(*st));
    if (!st)
        return false;
    (void)pra_exchange_get_stats(w->exchange, &stats);
    *st = (struct stream){.server = s,
                          .conn = c,
                          .exchange = w->exchange,
                          .queries = stats.queries,
                          .seconds = pra__conn_seconds(c)};
    c->answer.status = (unsigned)pra_exchange_status(w->exchange);
    c->answer.response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                           read_stream, st, free_stream);
    if (!c->answer.response) {
        pra__give(s, st, sizeof(*st));
        return false;
    }
    pra__answer_headers(&c->answer, w->exchange);
    atomic_fetch_add(&s->metrics.read_queries, st->queries);
    w->exchange = NULL;
    c->reading = false; /* the place at the gate is the stream's now */
    c->streaming = true;
    return true;
}
