/* SPDX-License-Identifier: Apache-2.0 */
/* Input: a byte of choices, `METHOD target`, header lines `name: value`, an empty line, the body.
 * Whatever comes, an answer stands that is one of ours, and the next request is served. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "pra.h"
#include "support/generated.h"
#include "support/hosted.h"

enum {
    STEPPED = 1,
    PIECES = 2,
    TO_WRITE = 4,
    TO_READ = 8,
    COMPRESS = 16,
    PART = 32,
    RETAIN = 64,
    FETCH = 128 /* the storage has select and fetch, and takes no writes */
};

static void check(int holds)
{
    if (!holds)
        abort();
}

/* Cuts a piece off the front of rest, up to the first mark, which is left out. */
static pra_str cut(pra_str *rest, char mark)
{
    const char *end = rest->len ? memchr(rest->ptr, mark, rest->len) : NULL;
    pra_str piece = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};
    size_t gone = piece.len + (end != NULL);
    rest->ptr += gone;
    rest->len -= gone;
    return piece;
}

static int begin(pra_exchange *x, int choices, pra_str *rest)
{
    pra_header headers[32];
    pra_request_head head = {.size = sizeof(head), .headers = headers};
    pra_str line = cut(rest, '\n');
    head.method = cut(&line, ' ');
    head.target = line;
    head.endpoint = choices & TO_WRITE  ? PRA_ENDPOINT_WRITE
                    : choices & TO_READ ? PRA_ENDPOINT_READ
                                        : PRA_ENDPOINT_AUTO;
    while (rest->len && (line = cut(rest, '\n')).len && head.header_count < 32) {
        pra_str name = cut(&line, ':');
        headers[head.header_count++] = (pra_header){name, line};
    }
    return pra_exchange_begin(x, &head);
}

static void check_sampled(const void *body, size_t len)
{
    pra_read_response *response;
    check(pra_read_response_new(NULL, &response) == PRA_OK);
    check(pra_read_response_decode_snappy(response, body, len, NULL, NULL) == PRA_OK);
    pra_read_response_free(response);
}

/* Frames that a reader understands, as many data as the exchange says. */
static void check_streamed(pra_exchange *x)
{
    pra_exchange_stats stats = {.size = sizeof(stats)};
    pra_stream_reader *reader;
    const void *piece;
    size_t len;
    uint64_t data = 0;
    int rc;
    check(pra_stream_reader_new(NULL, NULL, &reader) == PRA_OK);
    while ((rc = pra_exchange_body(x, &piece, &len)) == PRA_OK) {
        pra_columns c = {.size = sizeof(c)};
        check(len > 0 && pra_stream_reader_feed(reader, piece, len) == PRA_OK);
        while ((rc = pra_stream_reader_next(reader, NULL)) == PRA_OK) {
            check(pra_stream_reader_columns(reader, &c) == PRA_OK && c.series_count == 1);
            data += c.sample_count + c.histogram_count;
        }
        check(rc == PRA_DONE);
    }
    check(rc == PRA_DONE && pra_stream_reader_finish(reader, NULL) == PRA_OK);
    check(pra_exchange_get_stats(x, &stats) == PRA_OK);
    check(stats.samples + stats.histograms == data);
    pra_stream_reader_free(reader);
}

/* W-25, W-26: what was written is told to senders of 2.0, all of it, and to no others. */
static void check_written(const pra_exchange *x)
{
    pra_exchange_stats stats = {.size = sizeof(stats)};
    const pra_header *headers;
    size_t count = pra_exchange_headers(x, &headers), found = 0;
    check(pra_exchange_get_stats(x, &stats) == PRA_OK);
    for (size_t i = 0; i < count; i++)
        found += headers[i].name.len > 26 &&
                 memcmp(headers[i].name.ptr, "X-Prometheus-Remote-Write-", 26) == 0;
    int v2 = stats.endpoint == PRA_ENDPOINT_WRITE && stats.version == PRA_WRITE_V2;
    check(found == (v2 ? 3 : 0));
}

static void check_answer(pra_exchange *x)
{
    static const int32_t allowed[] = {200, 204, 400, 404, 405, 413, 415, 431};
    int32_t status = pra_exchange_status(x);
    const void *piece;
    size_t len = 0, known = 0;
    check(pra_exchange_step(x) == PRA_STEP_RESPOND);
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        known += allowed[i] == status;
    check(known == 1);
    check_written(x);
    if (pra_exchange_body_length(x) == UINT64_MAX) {
        check(status == 200);
        check_streamed(x);
        return;
    }
    uint64_t announced = pra_exchange_body_length(x);
    int rc = pra_exchange_body(x, &piece, &len);
    check(rc == (announced ? PRA_OK : PRA_DONE) && len == announced);
    check((status == 204) == (len == 0));
    check((status >= 400) == (pra_exchange_error(x)->code != 0));
    if (status >= 400)
        check(len < 4096 && memchr(piece, '\n', len) == (const char *)piece + len - 1);
    if (status == 200)
        check_sampled(piece, len);
}

static void one_request(struct hosted *h, int choices, pra_str rest)
{
    const struct hosted_way way = {(choices & STEPPED) != 0, (choices & PIECES) != 0};
    int rc = begin(h->x, choices, &rest);
    check(rc == PRA_OK || rc == PRA_DONE);
    if (rc == PRA_OK && choices & COMPRESS) {
        pra_buffer *body;
        check(pra_buffer_new(NULL, &body) == PRA_OK);
        check(pra_snappy_compress(rest.ptr, rest.len, body, NULL) == PRA_OK);
        hosted_body(h, (pra_str){pra_buffer_data(body), pra_buffer_len(body)}, way);
        pra_buffer_free(body);
    } else if (rc == PRA_OK) {
        hosted_body(h, rest, way);
    }
    check_answer(h->x);
}

#define LABEL(name, value)                                                                         \
    {                                                                                              \
        {name, sizeof(name) - 1}, {value, sizeof(value) - 1},                                      \
    }

static void over_select_and_fetch(const pra_handler_opts *opts, int choices, pra_str rest)
{
    static const struct generated_series series[] = {
        {{LABEL("__name__", "b")}, 1, -50, 1, 130, 3},
        {{LABEL("__name__", "a"), LABEL("x", "1")}, 2, 0, 15, 20, 0},
        {{LABEL("__name__", "a")}, 1, INT64_MAX - 3, 1, 4, 0},
    };
    struct generated g = {.series = series,
                          .series_count = 3,
                          .batch = 7,
                          .whole = (choices & PART) != 0,
                          .careless = (choices & PIECES) != 0};
    const pra_storage storage = {&generated_fetched, &g};
    struct hosted *h = hosted_over(NULL, &storage, opts);
    check(h != NULL);
    one_request(h, choices, rest);
    one_request(h, choices, rest);
    hosted_free(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    int choices = data[0] & FETCH ? data[0] & ~STEPPED : data[0];
    const pra_limits limits = {.size = sizeof(limits),
                               .max_memory_bytes = 1 << 20,
                               .max_body_bytes = 32 << 10,
                               .max_read_samples = 100,
                               .max_frame_bytes = 1 + data[0],
                               .retain_bytes = choices & RETAIN ? 4 << 10 : 512 << 10};
    const pra_handler_opts opts = {.size = sizeof(opts), .limits = &limits, .max_head_bytes = 4096};
    const pra_str rest = {(const char *)data + 1, size - 1};
    if (choices & FETCH) {
        over_select_and_fetch(&opts, choices, rest);
        return 0;
    }
    struct hosted *h = hosted_new(NULL, &opts);
    struct hosted_storage *storage = h->storage;
    storage->careless = 1; /* labels that cannot be are left out of the answer */
    storage->reject = (choices & PART) != 0;
    storage->reason = (pra_str){(const char *)data, size};
    one_request(h, choices, rest);
    one_request(h, choices, rest);
    storage->reject = 0;
    hosted_write(h, (pra_str){"good", 4}, (struct hosted_way){0, 0});
    check(pra_exchange_status(h->x) == 204);
    hosted_free(h);
    check(storage->destroyed == 1);
    hosted_storage_free(storage);
    return 0;
}
