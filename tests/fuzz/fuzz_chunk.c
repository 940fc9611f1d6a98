/* SPDX-License-Identifier: Apache-2.0 */
/* A chunk, its type in the first byte: what is decoded, encoded anew and decoded again is the same.
 */
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

static pra_write_request *new_series(void)
{
    pra_write_request *req;
    check(pra_write_request_new(NULL, &req) == PRA_OK &&
              pra_write_request_add_series(req, NULL, 0) == PRA_OK,
          "memory");
    return req;
}

static pra_columns columns_of(const pra_write_request *req)
{
    pra_columns c = {.size = sizeof(c)};
    check(pra_write_request_columns(req, &c) == PRA_OK, "columns");
    return c;
}

static void take(int32_t type, const pra_buffer *chunk, pra_write_request *to)
{
    check(pra_chunk_decode(type, pra_buffer_data(chunk), pra_buffer_len(chunk), to, NULL, NULL) ==
              PRA_OK,
          "an encoded chunk is decoded");
}

static void again_samples(const pra_columns *c, pra_write_request *to, pra_buffer *chunk)
{
    if (c->sample_count == 0)
        return;
    check(pra_chunk_encode_samples(c->timestamps_ms, c->values, c->sample_count, chunk) == PRA_OK,
          "encode samples");
    take(PRA_CHUNK_XOR, chunk, to);
}

static void again_histograms(const pra_columns *c, pra_write_request *to, pra_buffer *chunk)
{
    for (size_t at = 0, taken; at < c->histogram_count; at += taken) {
        int32_t type;
        pra_buffer_reset(chunk);
        check(pra_chunk_encode_histograms(c, at, c->histogram_count - at, &taken, &type, chunk) ==
                  PRA_OK,
              "encode histograms");
        check(taken > 0, "at least one goes in");
        take(type, chunk, to);
    }
}

static void drop_sign_of_zero(const double *value)
{
    if (*value == 0)
        *(double *)(uintptr_t)value = 0;
}

/* Start timestamps are not in XOR chunks, hints go by the position in a chunk, and as with
 * Prometheus thresholds and bounds have one zero. */
static struct text comparable(const pra_write_request *req)
{
    struct text t = {0};
    pra_columns c = columns_of(req);
    text_bytes(&t, "", 0);
    c.start_timestamps_ms = NULL;
    for (size_t i = 0; i < c.histogram_count; i++) {
        pra_histogram *h = (pra_histogram *)(uintptr_t)&c.histograms[i];
        if (h->reset_hint == PRA_COUNTER_RESET_NO)
            h->reset_hint = PRA_COUNTER_RESET_UNKNOWN;
        drop_sign_of_zero(&h->zero_threshold);
    }
    for (size_t i = 0; i < c.custom_value_count; i++)
        drop_sign_of_zero(&c.custom_values[i]);
    events_columns(&t, &c);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pra_limits limits = {.size = sizeof(limits), .max_memory_bytes = 1 << 20};
    pra_error err = {0};
    pra_write_request *one = new_series(), *two = new_series();
    pra_buffer *chunk;
    check(pra_buffer_new(NULL, &chunk) == PRA_OK, "memory");
    int rc = pra_chunk_decode(size ? data[0] : 0, size ? data + 1 : data, size ? size - 1 : 0, one,
                              &limits, &err);
    pra_columns c = columns_of(one);
    if (rc) {
        check(err.code == rc && err.message[0], "an error says what it is");
        check(c.sample_count == 0 && c.histogram_count == 0, "an error leaves nothing behind");
    } else {
        again_samples(&c, two, chunk);
        again_histograms(&c, two, chunk);
        struct text a = comparable(one), b = comparable(two);
        if (strcmp(a.data, b.data) != 0)
            (void)fprintf(stderr, "%s\ninstead of\n%s\n", b.data, a.data);
        check(strcmp(a.data, b.data) == 0, "another content");
        text_free(&a);
        text_free(&b);
    }
    pra_buffer_free(chunk);
    pra_write_request_free(one);
    pra_write_request_free(two);
    return 0;
}
