/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a sink: shared by series_sink.c, sink_fed.c and sink_ordered.c, which take series,
 * sink_sampled.c, which writes them, and by remote/, which fills it over select and fetch. */
#ifndef PRA_MESSAGE_SERIES_SINK_H
#define PRA_MESSAGE_SERIES_SINK_H

#include "base/buffer.h"
#include "message/label_set.h"
#include "message/read_budget.h"
#include "message/series_list.h"
#include "message/sink_pending.h"
#include "message/sink_streamed.h"
#include "pra.h"

/* How a sink that is fed by fetch stands; see pra__series_sink_feed. */
struct pra__feed {
    int running;     /* begin and end are not the storage's to call */
    int64_t from_ms; /* what is before it was taken earlier */
    int64_t last_ms; /* of the data taken, if any */
    int any;
    int last_is_sample;
    int past_end; /* data behind the query's range came: the series is done */
    int full;     /* streamed: a frame is complete */
};

/* What a streamed answer needs beyond a sampled one. */
struct pra__sink_stream {
    int on;
    pra_buffer *out; /* where frames go: the sink's own buffer, or, fed or ordered, the answer's */
    int64_t query_index;
    struct pra__streamed writer;
    /* pushed: the series, whose ids count them, and where the frames of each begin; ordered: the
     * last series */
    pra_series_list list;
    pra_buffer starts; /* of size_t */
    /* fed: what was taken before the series was begun */
    size_t taken_before;
};

struct pra_series_sink {
    pra_alloc alloc;
    pra_buffer series; /* finished: fields of QueryResult */
    pra_buffer labels; /* of the series that was begun: fields of TimeSeries */
    struct pra__label_set set;
    const pra_label *external; /* merged into every series that is pushed */
    size_t external_count;
    int64_t start_ms;
    int64_t end_ms;
    size_t series_count;
    size_t sample_count;
    size_t histogram_count;
    int begun;
    struct pra__pending pending; /* of the series that was begun */
    struct pra__feed feed;
    int ordered;   /* series have to come in order */
    size_t enough; /* ordered, streamed: bytes of frames after which the storage is to rest */
    struct pra__sink_stream stream;
    pra__read_budget *budget;
    pra__read_budget own_budget; /* of a sink used without a handler */
    pra_error failure;           /* sticky */
};

/* A sink that is started anew for each query. Free with pra_series_sink_free. */
int pra__series_sink_make(const pra_alloc *alloc, pra_series_sink **out);
/* Empties it; budget and external are borrowed until the next start. */
void pra__series_sink_start(pra_series_sink *sink, int64_t start_ms, int64_t end_ms,
                            pra__read_budget *budget, const pra_label *external,
                            size_t external_count);
/* The answer is to be frames of query number query_index; only after a start. out NULL: the series
 * are pushed, and wait; else they are fed or ordered, one after the other, and out takes their
 * frames. */
void pra__series_sink_stream(pra_series_sink *sink, int64_t query_index, pra_buffer *out);
/* Series are to come in order; streamed, the sink says so when enough bytes of frames wait. After a
 * start, and a stream with an out, if there is one; there are no external labels. */
void pra__series_sink_order(pra_series_sink *sink, size_t enough);
/* Forgets series; what it holds stays. */
void pra__series_sink_clear(pra_series_sink *sink);
/* Bytes of memory it holds, itself included. */
size_t pra__series_sink_memory(const pra_series_sink *sink);
/* The first limit or allocation that was hit, PRA_OK if none: the series here are not all that were
 * added. */
int pra__series_sink_failure(const pra_series_sink *sink, pra_error *err);

/* As pra_series_sink_begin, of labels that are sorted and checked already. */
int pra__series_sink_open(pra_series_sink *sink, const pra_label *labels, size_t count,
                          pra_error *err);
/* Of a streamed sink, once all series are pushed: sorts them. */
void pra__series_sink_sort(pra_series_sink *sink);
/* The frames of series number index in that order, one behind the other. */
pra_str pra__series_sink_frames(const pra_series_sink *sink, size_t index);

/* Lets fetch push data of the open series, from from_ms on; then ends that. */
void pra__series_sink_feed(pra_series_sink *sink, int64_t from_ms);
/* code: what fetch returned. Returns PRA_OK when the series is done, PRA_DONE when the sink has
 * enough and fetch is to be called again, from behind feed.last_ms on, or what is wrong. */
int pra__series_sink_feed_end(pra_series_sink *sink, int code, pra_error *err);

/* code: what process_query returned of an ordered sink. Returns PRA_OK when there is no more,
 * PRA_DONE when the sink has enough and process_query is to be called again, or what is wrong. */
int pra__series_sink_order_end(pra_series_sink *sink, int code, pra_error *err);

/* For the files of the sink: what it may take, and failures that end the answer. They return the
 * code of sink->failure; pra__sink_fail keeps the first one, later calls hand it out again. */
int pra__sink_fail(pra_series_sink *sink, pra_error *err);
int pra__sink_fail_nomem(pra_series_sink *sink, pra_error *err);
int pra__sink_fail_bytes(pra_series_sink *sink, pra_error *err);
int pra__sink_take_samples(pra_series_sink *sink, size_t count, pra_error *err);
int pra__sink_take_bytes(pra_series_sink *sink, size_t count, pra_error *err);

/* 1 if data goes straight into frames of the answer. */
static inline int pra__sink_is_direct(const pra_series_sink *sink)
{
    return sink->stream.on && sink->stream.out != &sink->series;
}

/* series_sink.c: data that waits for the end of its series. Samples: in order and in range.
 * Histograms outside the range are left out. */
int pra__sink_push_run(pra_series_sink *sink, const int64_t *timestamps_ms, const double *values,
                       size_t count, pra_error *err);
int pra__sink_push_histograms(pra_series_sink *sink, const pra_columns *columns, size_t start,
                              size_t end, pra_error *err);
/* sink_ordered.c: the series that the set is of comes behind the last one, and is the last one from
 * now on. */
int pra__sink_follow(pra_series_sink *sink, pra_error *err);
/* Whether the storage is to rest: PRA_OK, PRA_DONE, or that too many frames wait. */
int pra__sink_ask_for_more(pra_series_sink *sink, pra_error *err);
/* sink_fed.c: data from fetch. */
int pra__sink_feed_samples(pra_series_sink *sink, const int64_t *timestamps_ms,
                           const double *values, size_t count, pra_error *err);
int pra__sink_feed_histograms(pra_series_sink *sink, const pra_columns *columns, size_t start,
                              size_t count, pra_error *err);
/* sink_sampled.c: writes the series that was begun, with these samples, which are in order and in
 * range, and the histograms that wait. */
int pra__sink_encode_sampled(pra_series_sink *sink, const int64_t *timestamps_ms,
                             const double *values, size_t count, pra_error *err);

#endif
