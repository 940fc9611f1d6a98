/* SPDX-License-Identifier: Apache-2.0 */
/* Sampled answers as a client reads them: every column must hold what the offsets promise, a snappy
 * block of the message must decode to the same, and what sinks make of its series must come out of
 * sinks again as it went in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pra.h"
#include "support/events.h"

static void check(int ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s\n", what);
    abort();
}

static struct text events_of(const pra_read_response *resp)
{
    struct text t = {0};
    text_bytes(&t, "", 0);
    events_read_response(&t, resp);
    return t;
}

static void check_same_from_snappy(const pra_read_response *resp, const void *data, size_t size)
{
    pra_buffer *block;
    pra_read_response *again;
    pra_error err = {0};
    check(pra_buffer_new(NULL, &block) == PRA_OK, "memory");
    check(pra_read_response_new(NULL, &again) == PRA_OK, "memory");
    check(pra_snappy_compress(data, size, block, &err) == PRA_OK, "compress");
    check(pra_read_response_decode_snappy(again, pra_buffer_data(block), pra_buffer_len(block),
                                          NULL, &err) == PRA_OK,
          "decode from snappy");
    struct text one = events_of(resp), two = events_of(again);
    check(strcmp(one.data, two.data) == 0, "another message from snappy");
    text_free(&one);
    text_free(&two);
    pra_buffer_free(block);
    pra_read_response_free(again);
}

/* Series number index into sink, if a sink takes it. */
static void add_series(pra_series_sink *sink, const pra_columns *c, size_t index)
{
    pra_series series = {.size = sizeof(series)};
    check(pra_columns_series(c, index, &series) == PRA_OK, "series");
    pra_label *labels = calloc(series.label_count + 1, sizeof(*labels));
    check(labels != NULL, "memory");
    for (size_t i = 0; i < series.label_count; i++) {
        const pra_label_span *l = &series.labels[i];
        labels[i] = (pra_label){{c->base + l->name.off, l->name.len},
                                {c->base + l->value.off, l->value.len}};
    }
    int rc = pra_series_sink_begin(sink, labels, series.label_count, NULL);
    if (rc == PRA_OK) {
        (void)pra_series_sink_samples(sink, series.timestamps_ms, series.values,
                                      series.sample_count, NULL);
        for (size_t i = 0; i < series.histogram_count; i++)
            (void)pra_series_sink_histograms(sink, c, c->histogram_offsets[index] + i, 1, NULL);
        rc = pra_series_sink_end(sink, NULL);
    }
    check(rc == PRA_OK || rc == PRA_ERR_LABELS, "a sink's answer");
    free(labels);
}

/* The series of all results as those of one, encoded. */
static pra_buffer *sunk(const pra_read_response *resp)
{
    pra_columns c = {.size = sizeof(c)};
    pra_series_sink *sink;
    pra_buffer *out;
    check(pra_series_sink_new(NULL, INT64_MIN, INT64_MAX, NULL, &sink) == PRA_OK, "memory");
    check(pra_buffer_new(NULL, &out) == PRA_OK, "memory");
    check(pra_read_response_columns(resp, &c) == PRA_OK, "columns");
    for (size_t i = 0; i < c.series_count; i++)
        add_series(sink, &c, i);
    check(pra_read_response_encode((const pra_series_sink *const *)&sink, 1, out, NULL) == PRA_OK,
          "encode");
    pra_series_sink_free(sink);
    return out;
}

static void check_same_through_sinks(const pra_read_response *resp)
{
    pra_read_response *again;
    pra_error err = {0};
    pra_buffer *once = sunk(resp);
    check(pra_read_response_new(NULL, &again) == PRA_OK, "memory");
    check(pra_read_response_decode(again, pra_buffer_data(once), pra_buffer_len(once), NULL,
                                   &err) == PRA_OK,
          "decode of what sinks made");
    pra_buffer *twice = sunk(again);
    check(pra_buffer_len(once) == pra_buffer_len(twice) &&
              memcmp(pra_buffer_data(once), pra_buffer_data(twice), pra_buffer_len(once)) == 0,
          "sinks made another answer of their own");
    pra_buffer_free(once);
    pra_buffer_free(twice);
    pra_read_response_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static pra_read_response *resp;
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 4 << 20};
    pra_error err = {0};
    if (!resp)
        check(pra_read_response_new(NULL, &resp) == PRA_OK, "memory");
    int rc = pra_read_response_decode(resp, data, size, &limits, &err);
    if (rc)
        check(err.code == rc && err.message[0], "an error says what it is");
    if (rc == PRA_OK) {
        check_same_from_snappy(resp, data, size);
        check_same_through_sinks(resp);
    }
    return 0;
}
