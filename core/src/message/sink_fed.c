/* SPDX-License-Identifier: Apache-2.0 */
/* Data that a storage's fetch pushes: in order of time, none of it twice, and, in a streamed
 * answer, no more than a frame at a time. */
#include "base/error.h"
#include "message/series_sink.h"
#include "message/times.h"

void pra__series_sink_feed(pra_series_sink *sink, int64_t from_ms)
{
    sink->feed = (struct pra__feed){.running = 1, .from_ms = from_ms};
}

int pra__series_sink_feed_end(pra_series_sink *sink, int code, pra_error *err)
{
    const struct pra__feed *feed = &sink->feed;
    sink->feed.running = 0;
    if (sink->failure.code) /* even if the storage did not look at it */
        return pra__sink_fail(sink, err);
    if (code < 0)
        return code;
    if (code == PRA_OK || code == PRA_DONE) {
        if (feed->full && !feed->past_end && feed->last_ms < INT64_MAX)
            return PRA_DONE;
        if (feed->full || feed->past_end || code == PRA_OK)
            return PRA_OK;
    }
    return pra__error(err, PRA_ERR_CALLBACK, 0,
                      "fetch of the storage returned %d where the sink had not enough", code);
}

/* What of the data is to be taken. */
struct window {
    size_t start;
    size_t end;
};

static int out_of_order(pra_series_sink *sink, pra_error *err)
{
    pra_error_set_cstr(&sink->failure, PRA_ERR_CALLBACK,
                       "fetch of the storage gave data that is not in order of time");
    return pra__sink_fail(sink, err);
}

static int find_window(pra_series_sink *sink, const struct pra__times *times, int is_sample,
                       struct window *out, pra_error *err)
{
    const struct pra__feed *feed = &sink->feed;
    const int64_t from_ms = feed->from_ms > sink->start_ms ? feed->from_ms : sink->start_ms;
    out->start = pra__times_lower_bound(times, from_ms);
    out->end = pra__times_upper_bound(times, sink->end_ms);
    if (out->start < out->end && feed->any && !is_sample && feed->last_is_sample &&
        pra__time_at(times, out->start) == feed->last_ms)
        out->start++; /* a sample goes before a histogram */
    if (out->start >= out->end) {
        out->start = out->end;
        return PRA_OK;
    }
    if (feed->any && pra__time_at(times, out->start) <= feed->last_ms)
        return out_of_order(sink, err);
    return pra__times_increase(times, out->start, out->end) ? PRA_OK : out_of_order(sink, err);
}

/* What taking the first data of the window said: PRA_DONE if a frame is complete. */
static int note(pra_series_sink *sink, const struct pra__times *times, const struct window *window,
                size_t taken, int is_sample, int rc, pra_error *err)
{
    struct pra__feed *feed = &sink->feed;
    if (rc < 0 && !sink->failure.code)
        pra__error(&sink->failure, rc, 0, "%s", pra_strerror(rc));
    if (rc < 0)
        return pra__sink_fail(sink, err);
    if (taken) {
        feed->any = 1;
        feed->last_ms = pra__time_at(times, window->start + taken - 1);
        feed->last_is_sample = is_sample;
    }
    feed->full = rc == PRA_DONE;
    feed->past_end = window->start + taken == window->end && window->end < times->count;
    return feed->full || feed->past_end ? PRA_DONE : PRA_OK;
}

int pra__sink_feed_samples(pra_series_sink *sink, const int64_t *timestamps_ms,
                           const double *values, size_t count, pra_error *err)
{
    const struct pra__times times = pra__sample_times(timestamps_ms, count);
    struct window w;
    if (sink->feed.past_end || sink->feed.full)
        return PRA_DONE;
    int rc = find_window(sink, &times, 1, &w, err);
    if (rc)
        return rc;
    size_t taken = w.end - w.start;
    if (taken && pra__sink_is_direct(sink)) {
        rc = pra__streamed_samples(&sink->stream.writer, timestamps_ms + w.start, values + w.start,
                                   taken, &taken);
        sink->sample_count += taken;
    } else if (taken) {
        rc = pra__sink_push_run(sink, timestamps_ms + w.start, values + w.start, taken, err);
    }
    return note(sink, &times, &w, taken, 1, rc, err);
}

int pra__sink_feed_histograms(pra_series_sink *sink, const pra_columns *columns, size_t start,
                              size_t count, pra_error *err)
{
    const struct pra__times times = pra__histogram_times(columns->histograms + start, count);
    struct window w;
    if (sink->feed.past_end || sink->feed.full)
        return PRA_DONE;
    int rc = find_window(sink, &times, 0, &w, err);
    if (rc)
        return rc;
    size_t taken = w.end - w.start;
    if (taken && pra__sink_is_direct(sink)) {
        rc =
            pra__streamed_histograms(&sink->stream.writer, columns, start + w.start, taken, &taken);
        sink->histogram_count += taken;
    } else if (taken) {
        rc = pra__sink_push_histograms(sink, columns, start + w.start, start + w.end, err);
    }
    return note(sink, &times, &w, taken, 0, rc, err);
}
