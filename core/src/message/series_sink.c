/* SPDX-License-Identifier: Apache-2.0 */
/* Takes the series of an answer, pushed whole or in pieces, or fed by a storage's fetch. */
#include "message/series_sink.h"

#include <string.h>

#include <pra_proto/remote.pb.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/limits.h"
#include "message/label_encode.h"

/* ── Life ── */

int pra__series_sink_make(const pra_alloc *alloc, pra_series_sink **out)
{
    pra_series_sink *sink = pra__calloc(alloc, sizeof(*sink));
    if (!sink)
        return PRA_ERR_NOMEM;
    sink->alloc = *alloc;
    pra__buffer_init(&sink->series, alloc);
    pra__buffer_init(&sink->labels, alloc);
    *out = sink;
    return PRA_OK;
}

void pra__series_sink_start(pra_series_sink *sink, int64_t start_ms, int64_t end_ms,
                            pra__read_budget *budget, const pra_label *external,
                            size_t external_count)
{
    pra_buffer_reset(&sink->series);
    sink->start_ms = start_ms;
    sink->end_ms = end_ms;
    sink->external = external;
    sink->external_count = external_count;
    sink->series_count = sink->sample_count = sink->histogram_count = 0;
    sink->begun = 0;
    sink->feed = (struct pra__feed){0};
    sink->budget = budget;
    sink->failure = (pra_error){0};
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
           sink->set.cap * sizeof(*sink->set.items) + pra__pending_memory(&sink->pending);
}

void pra_series_sink_free(pra_series_sink *sink)
{
    if (!sink)
        return;
    pra_alloc alloc = sink->alloc;
    pra__pending_fini(&sink->pending, &alloc);
    pra__label_set_fini(&sink->set, &alloc);
    pra__buffer_fini(&sink->series);
    pra__buffer_fini(&sink->labels);
    pra__free(&alloc, sink, sizeof(*sink));
}

/* ── Failures that end the answer ── */

/* Keeps the first one; later calls hand it out again. */
static int fail(pra_series_sink *sink, pra_error *err)
{
    sink->begun = 0;
    if (err)
        *err = sink->failure;
    return sink->failure.code;
}

int pra__sink_fail_nomem(pra_series_sink *sink, pra_error *err)
{
    pra__nomem(&sink->failure);
    return fail(sink, err);
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
               "(--limit.read-samples)",
               (unsigned long long)sink->budget->max_samples);
    return fail(sink, err);
}

static int too_many_bytes(pra_series_sink *sink, pra_error *err)
{
    pra__error(&sink->failure, PRA_ERR_RESPONSE_TOO_LARGE, 0,
               "the answer is larger than the limit of %llu bytes; ask for less, or raise "
               "max_response_bytes (--limit.response-size)",
               (unsigned long long)sink->budget->max_bytes);
    return fail(sink, err);
}

int pra__sink_take_samples(pra_series_sink *sink, size_t count, pra_error *err)
{
    return pra__budget_take(&sink->budget->samples, count) ? PRA_OK : too_many_samples(sink, err);
}

int pra__sink_take_bytes(pra_series_sink *sink, size_t count, pra_error *err)
{
    return pra__budget_take(&sink->budget->bytes, count) ? PRA_OK : too_many_bytes(sink, err);
}

static int out_of_order(pra_series_sink *sink, pra_error *err)
{
    pra_error_set_cstr(&sink->failure, PRA_ERR_CALLBACK,
                       "fetch of the storage gave data that is not in order of time");
    return fail(sink, err);
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
        return too_many_bytes(sink, err);
    pra_buffer_reset(&sink->labels);
    if (pra__buffer_reserve(&sink->labels, size))
        return pra__sink_fail_nomem(sink, err);
    uint8_t *p = sink->labels.data;
    for (size_t i = 0; i < count; i++)
        p = pra__put_label_field(p, prom_TimeSeries_labels_tag, labels[i].name, labels[i].value);
    sink->labels.len = size;
    return PRA_OK;
}

int pra__series_sink_open(pra_series_sink *sink, const pra_label *labels, size_t count,
                          pra_error *err)
{
    if (sink->failure.code)
        return fail(sink, err);
    int rc = encode_labels(sink, labels, count, err);
    if (rc)
        return rc;
    sink->begun = 1;
    pra__pending_clear(&sink->pending);
    return PRA_OK;
}

int pra_series_sink_begin(pra_series_sink *sink, const pra_label *labels, size_t label_count,
                          pra_error *err)
{
    if (!sink || (!labels && label_count))
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return fail(sink, err);
    if (sink->feed.running)
        return PRA_ERR_STATE;
    sink->begun = 0;
    int rc = pra__label_set_make(&sink->set, &sink->alloc, labels, label_count, sink->external,
                                 sink->external_count, err);
    if (rc == PRA_ERR_NOMEM)
        return pra__sink_fail_nomem(sink, err);
    return rc ? rc : pra__series_sink_open(sink, sink->set.items, sink->set.count, err);
}

/* ── Times: of samples, or of histograms, which begin with theirs ── */

struct times {
    const void *first;
    size_t stride; /* bytes */
    size_t count;
};

_Static_assert(offsetof(pra_histogram, timestamp_ms) == 0, "see struct times");

static struct times sample_times(const int64_t *timestamps_ms, size_t count)
{
    return (struct times){timestamps_ms, sizeof(*timestamps_ms), count};
}

static struct times histogram_times(const pra_histogram *histograms, size_t count)
{
    return (struct times){histograms, sizeof(*histograms), count};
}

static int64_t time_at(const struct times *times, size_t i)
{
    int64_t t;
    memcpy(&t, (const char *)times->first + i * times->stride, sizeof(t));
    return t;
}

static int is_increasing(const struct times *times, size_t start, size_t end)
{
    for (size_t i = start + 1; i < end; i++)
        if (time_at(times, i - 1) >= time_at(times, i))
            return 0;
    return 1;
}

/* First index whose time is not below t. */
static size_t lower_bound(const struct times *times, int64_t t)
{
    size_t low = 0;
    size_t count = times->count;
    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (time_at(times, middle) < t)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

/* Behind the last one that is in the range of the query; times are increasing. */
static size_t upper_bound(const pra_series_sink *sink, const struct times *times)
{
    return sink->end_ms == INT64_MAX ? times->count : lower_bound(times, sink->end_ms + 1);
}

static int in_range(const pra_series_sink *sink, int64_t timestamp_ms)
{
    return timestamp_ms >= sink->start_ms && timestamp_ms <= sink->end_ms;
}

/* ── Data that is fed: increasing, and none of it twice ── */

/* Which of the data is to be taken: [*start, *end). */
static int fed_window(pra_series_sink *sink, const struct times *times, int is_sample,
                      size_t *start, size_t *end, pra_error *err)
{
    struct pra__feed *feed = &sink->feed;
    *start = lower_bound(times, feed->from_ms > sink->start_ms ? feed->from_ms : sink->start_ms);
    *end = upper_bound(sink, times);
    feed->past_end |= *end < times->count;
    if (*start >= *end) {
        *end = *start;
        return PRA_OK;
    }
    if (feed->any && !is_sample && feed->last_is_sample && time_at(times, *start) == feed->last_ms)
        ++*start; /* a sample goes before a histogram */
    if (*start < *end && feed->any && time_at(times, *start) <= feed->last_ms)
        return out_of_order(sink, err);
    return is_increasing(times, *start, *end) ? PRA_OK : out_of_order(sink, err);
}

static void note_taken(struct pra__feed *feed, const struct times *times, size_t end, int is_sample)
{
    feed->any = 1;
    feed->last_ms = time_at(times, end - 1);
    feed->last_is_sample = is_sample;
}

void pra__series_sink_feed(pra_series_sink *sink, int64_t from_ms)
{
    sink->feed = (struct pra__feed){.running = 1, .from_ms = from_ms};
}

int pra__series_sink_feed_end(pra_series_sink *sink, int code, pra_error *err)
{
    sink->feed.running = 0;
    if (sink->failure.code) /* even if the storage did not look at it */
        return fail(sink, err);
    if (code < 0 || code > PRA_DONE)
        return code;
    if (sink->feed.past_end)
        return PRA_OK;
    if (code == PRA_OK)
        return PRA_OK;
    return pra_error_set_cstr(err, PRA_ERR_CALLBACK,
                              "fetch of the storage stopped where the sink had not enough");
}

/* ── Samples ── */

/* Before they take memory; what sorting leaves out later is too little to matter. */
static int room_for_samples(pra_series_sink *sink, size_t count, pra_error *err)
{
    size_t total = sink->pending.count + count;
    if (total > sink->budget->max_samples)
        return too_many_samples(sink, err);
    if (total > sink->budget->max_bytes / PRA__POINT_BYTES)
        return too_many_bytes(sink, err);
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
            pra__pending_add(&sink->pending, timestamps_ms[i], &values[i]);
    return rc;
}

static int feed_samples(pra_series_sink *sink, const int64_t *timestamps_ms, const double *values,
                        size_t count, pra_error *err)
{
    const struct times times = sample_times(timestamps_ms, count);
    size_t start;
    size_t end;
    if (sink->feed.past_end)
        return PRA_DONE;
    int rc = fed_window(sink, &times, 1, &start, &end, err);
    if (rc == PRA_OK && start < end) {
        rc = push_samples(sink, timestamps_ms + start, values + start, end - start, err);
        note_taken(&sink->feed, &times, end, 1);
    }
    return rc == PRA_OK && sink->feed.past_end ? PRA_DONE : rc;
}

int pra_series_sink_samples(pra_series_sink *sink, const int64_t *timestamps_ms,
                            const double *values, size_t count, pra_error *err)
{
    if (!sink || (count && (!timestamps_ms || !values)))
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return fail(sink, err);
    if (!sink->begun)
        return PRA_ERR_STATE;
    return sink->feed.running ? feed_samples(sink, timestamps_ms, values, count, err)
                              : push_samples(sink, timestamps_ms, values, count, err);
}

/* ── Histograms ── */

static int hold(pra_series_sink *sink, const pra_columns *columns, size_t index, pra_error *err)
{
    int rc =
        pra__pending_hold(&sink->pending, &sink->alloc, columns, index, sink->budget->max_bytes);
    if (rc == PRA_ERR_MEMORY_BUDGET)
        return too_many_bytes(sink, err);
    return rc == PRA_ERR_NOMEM ? pra__sink_fail_nomem(sink, err) : rc;
}

static int push_histograms(pra_series_sink *sink, const pra_columns *columns, size_t start,
                           size_t end, pra_error *err)
{
    int rc = PRA_OK;
    for (size_t i = start; i < end && rc == PRA_OK; i++)
        if (in_range(sink, columns->histograms[i].timestamp_ms))
            rc = hold(sink, columns, i, err);
    return rc;
}

static int feed_histograms(pra_series_sink *sink, const pra_columns *columns, size_t start,
                           size_t count, pra_error *err)
{
    const struct times times = histogram_times(columns->histograms + start, count);
    size_t first;
    size_t end;
    if (sink->feed.past_end)
        return PRA_DONE;
    int rc = fed_window(sink, &times, 0, &first, &end, err);
    if (rc == PRA_OK && first < end) {
        rc = push_histograms(sink, columns, start + first, start + end, err);
        note_taken(&sink->feed, &times, end, 0);
    }
    return rc == PRA_OK && sink->feed.past_end ? PRA_DONE : rc;
}

int pra_series_sink_histograms(pra_series_sink *sink, const pra_columns *columns, size_t start,
                               size_t count, pra_error *err)
{
    if (!sink || !columns || columns->size < sizeof(*columns) || start > columns->histogram_count ||
        count > columns->histogram_count - start)
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return fail(sink, err);
    if (!sink->begun)
        return PRA_ERR_STATE;
    if (count == 0)
        return PRA_OK;
    return sink->feed.running ? feed_histograms(sink, columns, start, count, err)
                              : push_histograms(sink, columns, start, start + count, err);
}

/* ── The end of a series ── */

int pra_series_sink_end(pra_series_sink *sink, pra_error *err)
{
    if (!sink)
        return PRA_ERR_INVALID_ARG;
    if (sink->failure.code)
        return fail(sink, err);
    if (!sink->begun || sink->feed.running)
        return PRA_ERR_STATE;
    sink->begun = 0;
    if (pra__pending_settle(&sink->pending, &sink->alloc))
        return pra__sink_fail_nomem(sink, err);
    return pra__sink_encode_sampled(sink, sink->pending.timestamps_ms, sink->pending.values,
                                    sink->pending.count, err);
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
    const struct times times = sample_times(timestamps_ms, sample_count);
    if (!is_increasing(&times, 0, sample_count)) {
        rc = pra_series_sink_samples(sink, timestamps_ms, values, sample_count, err);
        return rc ? rc : pra_series_sink_end(sink, err);
    }
    size_t first = lower_bound(&times, sink->start_ms);
    size_t last = upper_bound(sink, &times);
    sink->begun = 0;
    if (first >= last)
        return PRA_OK;
    return pra__sink_encode_sampled(sink, timestamps_ms + first, values + first, last - first, err);
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
