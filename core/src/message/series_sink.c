/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the series of an answer, pushed whole or in pieces, or fed by a storage's fetch. */
#include "message/series_sink.h"

#include <string.h>

#include <pra_proto/remote.pb.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "message/label_encode.h"
#include "message/times.h"

/* ── Life ── */

int pra__series_sink_make(const pra_alloc *alloc, pra_series_sink **out)
{
    pra_series_sink *sink = pra__calloc(alloc, sizeof(*sink));
    if (!sink)
        return PRA_ERR_NOMEM;
    sink->alloc = *alloc;
    pra__buffer_init(&sink->series, alloc);
    pra__buffer_init(&sink->labels, alloc);
    pra__streamed_init(&sink->stream.writer, alloc);
    pra__series_list_init(&sink->stream.list, alloc);
    pra__buffer_init(&sink->stream.starts, alloc);
    *out = sink;
    return PRA_OK;
}

void pra__series_sink_start(pra_series_sink *sink, int64_t start_ms, int64_t end_ms,
                            pra__read_budget *budget, const pra_label *external,
                            size_t external_count)
{
    pra__series_sink_clear(sink);
    sink->start_ms = start_ms;
    sink->end_ms = end_ms;
    sink->external = external;
    sink->external_count = external_count;
    sink->series_count = sink->sample_count = sink->histogram_count = 0;
    sink->begun = 0;
    sink->feed = (struct pra__feed){0};
    sink->ordered = 0;
    sink->stream.on = 0;
    sink->budget = budget;
    sink->failure = (pra_error){0};
}

void pra__series_sink_clear(pra_series_sink *sink)
{
    pra_buffer_reset(&sink->series);
    pra_buffer_reset(&sink->stream.starts);
    pra__series_list_trim(&sink->stream.list, SIZE_MAX);
}

void pra__series_sink_stream(pra_series_sink *sink, int64_t query_index, pra_buffer *out)
{
    struct pra__sink_stream *stream = &sink->stream;
    stream->on = 1;
    stream->query_index = query_index;
    stream->out = out ? out : &sink->series;
    pra__series_list_start(&stream->list, sink->budget, NULL, 0);
}

int pra_series_sink_new(const pra_alloc *alloc, int64_t start_ms, int64_t end_ms,
                        const pra_limits *limits, pra_series_sink **out)
{
    pra_alloc a = pra__alloc_copy(alloc);
    pra_limits full;
    pra_series_sink *sink;
    int rc = pra__limits_resolve(limits, &full);
    if (rc || (rc = pra__series_sink_make(&a, &sink)) != PRA_OK)
        return rc;
    pra__read_budget_init(&sink->own_budget, &full);
    pra__series_sink_start(sink, start_ms, end_ms, &sink->own_budget, NULL, 0);
    *out = sink;
    return PRA_OK;
}

void pra_series_sink_reset(pra_series_sink *sink, int64_t start_ms, int64_t end_ms)
{
    atomic_store(&sink->own_budget.samples, sink->own_budget.max_samples);
    atomic_store(&sink->own_budget.bytes, sink->own_budget.max_bytes);
    pra__series_sink_start(sink, start_ms, end_ms, &sink->own_budget, NULL, 0);
}

size_t pra__series_sink_memory(const pra_series_sink *sink)
{
    return sizeof(*sink) + sink->series.cap + sink->labels.cap +
           sink->set.cap * sizeof(*sink->set.items) + pra__pending_memory(&sink->pending) +
           pra__streamed_memory(&sink->stream.writer) +
           pra__series_list_memory(&sink->stream.list) + sink->stream.starts.cap;
}

void pra_series_sink_free(pra_series_sink *sink)
{
    if (!sink)
        return;
    pra_alloc alloc = sink->alloc;
    pra__pending_fini(&sink->pending, &alloc);
    pra__streamed_fini(&sink->stream.writer);
    pra__series_list_fini(&sink->stream.list);
    pra__buffer_fini(&sink->stream.starts);
    pra__label_set_fini(&sink->set, &alloc);
    pra__buffer_fini(&sink->series);
    pra__buffer_fini(&sink->labels);
    pra__free(&alloc, sink, sizeof(*sink));
}

/* ── Failures that end the answer ── */

/* Keeps the first one; later calls hand it out again. */
int pra__sink_fail(pra_series_sink *sink, pra_error *err)
{
    sink->begun = 0;
    if (err)
        *err = sink->failure;
    return sink->failure.code;
}

int pra__sink_fail_nomem(pra_series_sink *sink, pra_error *err)
{
    pra__nomem(&sink->failure);
    return pra__sink_fail(sink, err);
}

int pra__series_sink_failure(const pra_series_sink *sink, pra_error *err)
{
    if (sink->failure.code && err)
        *err = sink->failure;
    return sink->failure.code;
}

static int too_many_samples(pra_series_sink *sink, pra_error *err)
{
    pra__error(&sink->failure, PRA_ERR_SAMPLE_LIMIT, 0,
               "exceeded sample limit (%llu); ask for less, or raise max_read_samples "
               "(--storage.remote.read-sample-limit)",
               (unsigned long long)sink->budget->max_samples);
    return pra__sink_fail(sink, err);
}

int pra__sink_fail_bytes(pra_series_sink *sink, pra_error *err)
{
    pra__error(&sink->failure, PRA_ERR_RESPONSE_TOO_LARGE, 0,
               "the answer is larger than the limit of %llu bytes; ask for less, or raise "
               "max_response_bytes (--limit.response-size)",
               (unsigned long long)sink->budget->max_bytes);
    return pra__sink_fail(sink, err);
}

int pra__sink_take_samples(pra_series_sink *sink, size_t count, pra_error *err)
{
    return pra__budget_take(&sink->budget->samples, count) ? PRA_OK : too_many_samples(sink, err);
}

int pra__sink_take_bytes(pra_series_sink *sink, size_t count, pra_error *err)
{
    return pra__budget_take(&sink->budget->bytes, count) ? PRA_OK : pra__sink_fail_bytes(sink, err);
}

/* ── Labels ── */

static int encode_labels(pra_series_sink *sink, const pra_label *labels, size_t count,
                         pra_error *err)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += pra__label_field_size(prom_TimeSeries_labels_tag, labels[i].name.len,
                                      labels[i].value.len);
    /* Before they take memory: each of many sinks could hold as much as all may hold together. */
    if (size > atomic_load_explicit(&sink->budget->bytes, memory_order_relaxed))
        return pra__sink_fail_bytes(sink, err);
    pra_buffer_reset(&sink->labels);
    if (pra__buffer_reserve(&sink->labels, size))
        return pra__sink_fail_nomem(sink, err);
    uint8_t *p = sink->labels.data;
    for (size_t i = 0; i < count; i++)
        p = pra__put_label_field(p, prom_TimeSeries_labels_tag, labels[i].name, labels[i].value);
    sink->labels.len = size;
    return PRA_OK;
}

static int is_fed(const pra_series_sink *sink)
{
    return pra__sink_is_direct(sink) && !sink->ordered;
}

int pra__series_sink_open(pra_series_sink *sink, const pra_label *labels, size_t count,
                          pra_error *err)
{
    if (sink->failure.code || pra__budget_check_wanted(sink->budget, &sink->failure))
        return pra__sink_fail(sink, err);
    int rc = encode_labels(sink, labels, count, err);
    if (rc)
        return rc;
    sink->begun = 1;
    pra__pending_clear(&sink->pending);
    sink->stream.taken_before = sink->sample_count + sink->histogram_count;
    if (is_fed(sink))
        pra__streamed_begin(&sink->stream.writer, sink->stream.out, sink->stream.query_index,
                            sink->budget->max_frame_bytes, &sink->labels);
    return PRA_OK;
}

/* Pushed series of a streamed answer wait to be sorted. */
static int list_series(pra_series_sink *sink, pra_error *err)
{
    pra_series_list *list = &sink->stream.list;
    int rc = pra__series_list_keep(list, sink->set.items, sink->set.count, list->count, err);
    if (rc) {
        sink->failure = list->failure;
        return pra__sink_fail(sink, err);
    }
    return PRA_OK;
}

/* Lets go of a series that was begun. */
static void drop_begun(pra_series_sink *sink)
{
    if (sink->begun && sink->stream.on && !pra__sink_is_direct(sink))
        pra__series_list_undo(&sink->stream.list);
    sink->begun = 0;
}

int pra_series_sink_begin(pra_series_sink *sink, const pra_label *labels, size_t label_count,
                          pra_error *err)
{
    if (!sink || (!labels && label_count))
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return pra__sink_fail(sink, err);
    if (sink->feed.running)
        return PRA_ERR_STATE;
    drop_begun(sink);
    int rc = pra__label_set_make(&sink->set, &sink->alloc, labels, label_count, sink->external,
                                 sink->external_count, err);
    if (rc == PRA_ERR_NOMEM)
        return pra__sink_fail_nomem(sink, err);
    if (rc == PRA_OK && sink->ordered)
        rc = pra__sink_follow(sink, err);
    else if (rc == PRA_OK && sink->stream.on)
        rc = list_series(sink, err);
    return rc ? rc : pra__series_sink_open(sink, sink->set.items, sink->set.count, err);
}

static int in_range(const pra_series_sink *sink, int64_t timestamp_ms)
{
    return timestamp_ms >= sink->start_ms && timestamp_ms <= sink->end_ms;
}

/* ── Samples ── */

/* Before they take memory; what sorting leaves out later is too little to matter. */
static int room_for_samples(pra_series_sink *sink, size_t count, pra_error *err)
{
    size_t total = sink->pending.count + count;
    if (!sink->stream.on && total > sink->budget->max_samples)
        return too_many_samples(sink, err);
    if (total > sink->budget->max_bytes / PRA__POINT_BYTES)
        return pra__sink_fail_bytes(sink, err);
    return pra__pending_reserve(&sink->pending, &sink->alloc, count)
               ? pra__sink_fail_nomem(sink, err)
               : PRA_OK;
}

static int push_samples(pra_series_sink *sink, const int64_t *timestamps_ms, const double *values,
                        size_t count, pra_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        kept += (size_t)in_range(sink, timestamps_ms[i]);
    int rc = room_for_samples(sink, kept, err);
    for (size_t i = 0; i < count && rc == PRA_OK; i++)
        if (in_range(sink, timestamps_ms[i]))
            pra__pending_add(&sink->pending, &timestamps_ms[i], &values[i], 1);
    return rc;
}

int pra__sink_push_run(pra_series_sink *sink, const int64_t *timestamps_ms, const double *values,
                       size_t count, pra_error *err)
{
    int rc = room_for_samples(sink, count, err);
    if (rc == PRA_OK)
        pra__pending_add(&sink->pending, timestamps_ms, values, count);
    return rc;
}

int pra_series_sink_samples(pra_series_sink *sink, const int64_t *timestamps_ms,
                            const double *values, size_t count, pra_error *err)
{
    if (!sink || (count && (!timestamps_ms || !values)))
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return pra__sink_fail(sink, err);
    if (!sink->begun)
        return PRA_ERR_STATE;
    return sink->feed.running ? pra__sink_feed_samples(sink, timestamps_ms, values, count, err)
                              : push_samples(sink, timestamps_ms, values, count, err);
}

/* ── Histograms ── */

static int hold(pra_series_sink *sink, const pra_columns *columns, size_t index, pra_error *err)
{
    int rc =
        pra__pending_hold(&sink->pending, &sink->alloc, columns, index, sink->budget->max_bytes);
    if (rc == PRA_ERR_MEMORY_BUDGET)
        return pra__sink_fail_bytes(sink, err);
    return rc == PRA_ERR_NOMEM ? pra__sink_fail_nomem(sink, err) : rc;
}

int pra__sink_push_histograms(pra_series_sink *sink, const pra_columns *columns, size_t start,
                              size_t end, pra_error *err)
{
    int rc = PRA_OK;
    for (size_t i = start; i < end && rc == PRA_OK; i++)
        if (in_range(sink, columns->histograms[i].timestamp_ms))
            rc = hold(sink, columns, i, err);
    return rc;
}

/* A reader refuses an answer with one that is invalid. */
static int check_histograms(const pra_columns *columns, size_t start, size_t end, pra_error *err)
{
    int rc = PRA_OK;
    for (size_t i = start; i < end && rc == PRA_OK; i++)
        if (!pra_histogram_is_stale(&columns->histograms[i]))
            rc = pra_histogram_validate(columns, i, err);
    return rc;
}

int pra_series_sink_histograms(pra_series_sink *sink, const pra_columns *columns, size_t start,
                               size_t count, pra_error *err)
{
    if (!sink || !columns || columns->size < sizeof(*columns) || start > columns->histogram_count ||
        count > columns->histogram_count - start)
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return pra__sink_fail(sink, err);
    if (!sink->begun)
        return PRA_ERR_STATE;
    if (count == 0)
        return PRA_OK;
    int rc = check_histograms(columns, start, start + count, err);
    if (rc)
        return rc;
    return sink->feed.running ? pra__sink_feed_histograms(sink, columns, start, count, err)
                              : pra__sink_push_histograms(sink, columns, start, start + count, err);
}

/* ── The end of a series ── */

static int encode_streamed(pra_series_sink *sink, const int64_t *timestamps_ms,
                           const double *values, size_t count, pra_error *err)
{
    struct pra__sink_stream *stream = &sink->stream;
    const size_t start = stream->out->len;
    pra__streamed_begin(&stream->writer, stream->out, stream->query_index,
                        sink->budget->max_frame_bytes, &sink->labels);
    int rc = pra__streamed_write(&stream->writer, timestamps_ms, values, count, &sink->pending);
    if (rc == PRA_OK && !sink->ordered)
        rc = pra_buffer_append(&stream->starts, &start, sizeof(start));
    if (rc) {
        pra_error_set_cstr(&sink->failure, rc, pra_strerror(rc));
        return pra__sink_fail(sink, err);
    }
    sink->series_count++;
    sink->sample_count += count;
    sink->histogram_count += sink->pending.held_count;
    return sink->ordered ? pra__sink_ask_for_more(sink, err)
                         : pra__sink_take_bytes(sink, stream->out->len - start, err);
}

static int encode(pra_series_sink *sink, const int64_t *timestamps_ms, const double *values,
                  size_t count, pra_error *err)
{
    if (sink->stream.on && count == 0 && sink->pending.held_count == 0) {
        drop_begun(sink);
        return PRA_OK;
    }
    sink->begun = 0;
    return sink->stream.on ? encode_streamed(sink, timestamps_ms, values, count, err)
                           : pra__sink_encode_sampled(sink, timestamps_ms, values, count, err);
}

/* The last frame of a series that was fed. */
static int end_fed(pra_series_sink *sink, pra_error *err)
{
    sink->begun = 0;
    sink->series_count += sink->sample_count + sink->histogram_count > sink->stream.taken_before;
    if (pra__streamed_end(&sink->stream.writer))
        return pra__sink_fail_nomem(sink, err);
    return PRA_OK;
}

int pra_series_sink_end(pra_series_sink *sink, pra_error *err)
{
    if (!sink)
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return pra__sink_fail(sink, err);
    if (!sink->begun || sink->feed.running)
        return PRA_ERR_STATE;
    if (is_fed(sink))
        return end_fed(sink, err);
    if (pra__pending_settle(&sink->pending, &sink->alloc))
        return pra__sink_fail_nomem(sink, err);
    return encode(sink, sink->pending.timestamps_ms, sink->pending.values, sink->pending.count,
                  err);
}

int pra_series_sink_add(pra_series_sink *sink, const pra_label *labels, size_t label_count,
                        const int64_t *timestamps_ms, const double *values, size_t sample_count,
                        pra_error *err)
{
    if (sample_count && (!timestamps_ms || !values))
        return PRA_ERR_INVALID_ARG;
    int rc = pra_series_sink_begin(sink, labels, label_count, err);
    if (rc)
        return rc;
    const struct pra__times times = pra__sample_times(timestamps_ms, sample_count);
    if (!pra__times_increase(&times, 0, sample_count)) {
        rc = pra_series_sink_samples(sink, timestamps_ms, values, sample_count, err);
        return rc ? rc : pra_series_sink_end(sink, err);
    }
    size_t first = pra__times_lower_bound(&times, sink->start_ms);
    size_t last = pra__times_upper_bound(&times, sink->end_ms);
    if (first >= last)
        first = last = 0;
    return encode(sink, timestamps_ms + first, values + first, last - first, err);
}

/* ── The order of a streamed answer ── */

void pra__series_sink_sort(pra_series_sink *sink)
{
    drop_begun(sink); /* one that was not ended has no frames */
    pra__series_list_sort(&sink->stream.list);
}

static size_t frames_start(const pra_series_sink *sink, uint64_t id)
{
    size_t start;
    if (id == sink->series_count)
        return sink->series.len;
    memcpy(&start, sink->stream.starts.data + id * sizeof(start), sizeof(start));
    return start;
}

pra_str pra__series_sink_frames(const pra_series_sink *sink, size_t index)
{
    uint64_t id = sink->stream.list.items[index].id;
    size_t start = frames_start(sink, id);
    return (pra_str){(const char *)sink->series.data + start, frames_start(sink, id + 1) - start};
}

/* ── What came together ── */

size_t pra_series_sink_series_count(const pra_series_sink *sink)
{
    return sink->series_count;
}

size_t pra_series_sink_sample_count(const pra_series_sink *sink)
{
    return sink->sample_count;
}
