/* SPDX-License-Identifier: Apache-2.0 */
#include "remote/stream.h"

#include "base/error.h"
#include "remote/exchange.h"
#include "remote/select.h"

/* Frames are handed out together until there is this much of them. */
enum { PIECE_BYTES = 64 << 10 };

void pra__stream_init(struct pra__stream *s, const pra_alloc *alloc)
{
    pra__series_list_init(&s->list, alloc);
}

void pra__stream_fini(struct pra__stream *s)
{
    pra__series_list_fini(&s->list);
}

void pra__stream_reset(struct pra__stream *s, size_t retain)
{
    pra__series_list_trim(&s->list, retain);
    pra_series_list list = s->list;
    *s = (struct pra__stream){.list = list};
}

/* ── Asked of the storage as the host asks for pieces ── */

static const pra_query *begin_query(pra_exchange *x)
{
    struct pra__stream *s = &x->stream;
    const pra_query *query = pra_read_request_query(x->read, s->query);
    pra__series_sink_start(x->sinks[0], pra_query_start_ms(query), pra_query_end_ms(query),
                           &x->read_budget, NULL, 0);
    pra__series_sink_stream(x->sinks[0], (int64_t)s->query, &x->out);
    s->asked = 1;
    return query;
}

static void account(pra_exchange *x)
{
    const pra_series_sink *sink = x->sinks[0];
    x->stats.series += sink->series_count;
    x->stats.samples += sink->sample_count;
    x->stats.histograms += sink->histogram_count;
}

static void end_query(pra_exchange *x)
{
    struct pra__stream *s = &x->stream;
    account(x);
    pra__query_over(x, s->query++);
    s->asked = 0;
}

static int list_query(pra_exchange *x, pra_error *err)
{
    struct pra__stream *s = &x->stream;
    const pra_handler *h = x->handler;
    const pra_query *query = begin_query(x);
    pra__series_list_start(&s->list, &x->read_budget, h->external_labels, h->external_label_count);
    s->at = 0;
    if (pra_query_start_ms(query) > pra_query_end_ms(query))
        return PRA_OK;
    return pra__select(x, query, &s->list, err);
}

/* Begins the next series of this query or a later one. Returns PRA_OK, PRA_DONE if there is none.
 */
static int open_series(pra_exchange *x, pra_error *err)
{
    struct pra__stream *s = &x->stream;
    for (; s->query < x->sink_count; end_query(x)) {
        int rc = s->asked ? PRA_OK : list_query(x, err);
        if (rc)
            return rc;
        if (s->at < s->list.count) {
            const struct pra__listed *series = &s->list.items[s->at];
            s->from_ms = pra_query_start_ms(pra_read_request_query(x->read, s->query));
            s->open = 1;
            return pra__series_sink_open(x->sinks[0], series->labels, series->label_count, err);
        }
    }
    return PRA_DONE;
}

/* Up to a complete frame, or the end of the series. */
static int fetch_frame(pra_exchange *x, pra_error *err)
{
    struct pra__stream *s = &x->stream;
    pra_series_sink *sink = x->sinks[0];
    const pra_query *query = pra_read_request_query(x->read, s->query);
    int rc = pra__fetch(x, query, s->list.items[s->at].id, s->from_ms, sink, err);
    if (rc == PRA_DONE) {
        s->from_ms = sink->feed.last_ms + 1;
        return PRA_OK;
    }
    if (rc == PRA_OK)
        rc = pra_series_sink_end(sink, err);
    s->open = 0;
    s->at++;
    return rc;
}

static int fetch_some(pra_exchange *x, pra_error *err)
{
    int rc = x->stream.open ? PRA_OK : open_series(x, err);
    return rc ? rc : fetch_frame(x, err);
}

/* As many series as the storage has, or are enough. Returns PRA_OK, PRA_DONE behind the last query.
 */
static int process_some(pra_exchange *x, pra_error *err)
{
    struct pra__stream *s = &x->stream;
    const pra_handler *h = x->handler;
    if (s->query == x->sink_count)
        return PRA_DONE;
    const pra_query *query = pra_read_request_query(x->read, s->query);
    if (!s->asked) {
        (void)begin_query(x);
        pra__series_sink_order(x->sinks[0], PIECE_BYTES);
    }
    int rc = PRA_OK;
    if (pra_query_start_ms(query) <= pra_query_end_ms(query))
        rc = h->vtbl.process_query(h->self, &x->context, query, x->sinks[0], err);
    rc = pra__series_sink_order_end(x->sinks[0], rc, err);
    if (rc == PRA_OK)
        end_query(x);
    return rc < 0 ? rc : PRA_OK;
}

static int pull_piece(pra_exchange *x, pra_error *err)
{
    struct pra__stream *s = &x->stream;
    int rc = PRA_OK;
    pra_buffer_reset(&x->out);
    x->busy = 1;
    while (rc == PRA_OK && x->out.len < PIECE_BYTES)
        rc = x->handler->vtbl.select ? fetch_some(x, err) : process_some(x, err);
    x->busy = 0;
    if (rc < 0 && s->query < x->sink_count)
        account(x);
    s->piece = (pra_str){(const char *)x->out.data, x->out.len};
    return rc == PRA_DONE && x->out.len ? PRA_OK : rc;
}

/* ── Given out of the sinks ── */

/* Frames of series that follow each other in the sink's memory as they do in the answer. */
static pra_str next_run(pra_exchange *x)
{
    struct pra__stream *s = &x->stream;
    const pra_series_sink *sink = x->sinks[s->query];
    pra_str run = pra__series_sink_frames(sink, s->at++);
    while (run.len < PIECE_BYTES && s->at < sink->series_count) {
        pra_str more = pra__series_sink_frames(sink, s->at);
        if (more.ptr != run.ptr + run.len)
            break;
        run.len += more.len;
        s->at++;
    }
    return run;
}

/* A long run as it is, short ones gathered. */
static int gather_piece(pra_exchange *x, pra_error *err)
{
    struct pra__stream *s = &x->stream;
    pra_buffer_reset(&x->out);
    for (; s->query < x->sink_count; s->query++, s->at = 0) {
        while (s->at < x->sinks[s->query]->series_count) {
            const size_t before = s->at;
            pra_str run = next_run(x);
            if (run.len >= PIECE_BYTES && x->out.len == 0) {
                s->piece = run;
                return PRA_OK;
            }
            if (run.len >= PIECE_BYTES) {
                s->at = before;
                s->piece = (pra_str){(const char *)x->out.data, x->out.len};
                return PRA_OK;
            }
            if (pra_buffer_append(&x->out, run.ptr, run.len))
                return pra__nomem(err);
            s->piece = (pra_str){(const char *)x->out.data, x->out.len};
            if (x->out.len >= PIECE_BYTES)
                return PRA_OK;
        }
    }
    return x->out.len ? PRA_OK : PRA_DONE;
}

/* ── Both ── */

static int make_piece(pra_exchange *x, pra_error *err)
{
    int rc = pra__budget_check_wanted(&x->read_budget, err);
    if (rc)
        return rc;
    return x->stream.pulled ? pull_piece(x, err) : gather_piece(x, err);
}

int pra__stream_begin(pra_exchange *x, pra_error *err)
{
    struct pra__stream *s = &x->stream;
    int rc;
    if (!s->pulled)
        for (size_t i = 0; i < x->sink_count; i++)
            pra__series_sink_sort(x->sinks[i]);
    rc = make_piece(x, err);
    if (rc < 0)
        return rc;
    s->on = 1;
    s->waiting = rc == PRA_OK;
    s->over = rc == PRA_DONE;
    return PRA_OK;
}

int pra__stream_next(pra_exchange *x, pra_error *err)
{
    struct pra__stream *s = &x->stream;
    int rc = PRA_OK;
    if (s->over)
        return s->failed ? s->failed : PRA_DONE;
    if (!s->waiting)
        rc = make_piece(x, err);
    s->waiting = 0;
    s->over = rc != PRA_OK;
    s->failed = rc < 0 ? rc : 0;
    return rc;
}
