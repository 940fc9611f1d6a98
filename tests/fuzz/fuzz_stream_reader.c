/* SPDX-License-Identifier: Apache-2.0 */
/* A streamed answer as a client reads it: the same frames, or the same error, whatever the pieces
 * are that it arrives in. Checksums are made right first, as far as there are frames. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pra.h"
#include "support/events.h"
#include "wire/crc32c.h"
#include "wire/frame.h"

static void check(int ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "%s\n", what);
    abort();
}

static void mend_checksums(uint8_t *data, size_t size)
{
    size_t head;
    uint64_t len;
    uint32_t crc;
    for (size_t at = 0; pra__frame_read_head(data + at, size - at, &head, &len, &crc) == PRA_OK;
         at += head + len) {
        if (len > size - at - head)
            return;
        crc = pra__crc32c(data + at + head, len);
        for (size_t i = 0; i < 4; i++)
            data[at + head - 4 + i] = (uint8_t)(crc >> (24 - 8 * i));
    }
}

static int take_frames(pra_stream_reader *r, struct text *t, pra_error *err)
{
    pra_columns c = {.size = sizeof(c)};
    int rc;
    while ((rc = pra_stream_reader_next(r, err)) == PRA_OK) {
        check(pra_stream_reader_columns(r, &c) == PRA_OK && c.series_count > 0, "a series");
        text_printf(t, "query %lld\n", (long long)pra_stream_reader_query_index(r));
        events_columns(t, &c);
    }
    return rc;
}

static struct text read_in_pieces(const uint8_t *data, size_t size, size_t piece)
{
    static pra_stream_reader *r;
    pra_limits limits = {
        .size = sizeof(limits), .max_memory_bytes = 1 << 20, .max_frame_read_bytes = 1 << 16};
    pra_error err = {0};
    struct text t = {0};
    int rc = PRA_DONE;
    if (!r)
        check(pra_stream_reader_new(NULL, &limits, &r) == PRA_OK, "memory");
    pra_stream_reader_reset(r);
    for (size_t at = 0; rc == PRA_DONE && at < size; at += piece) {
        size_t n = piece < size - at ? piece : size - at;
        check(pra_stream_reader_feed(r, data + at, n) == PRA_OK, "memory");
        rc = take_frames(r, &t, &err);
    }
    if (rc != PRA_DONE)
        check(err.code == rc && err.message[0], "an error says what it is");
    else
        rc = pra_stream_reader_finish(r, NULL);
    text_printf(&t, "end %d\n", rc);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    check(copy != NULL, "memory");
    if (size)
        memcpy(copy, data, size);
    mend_checksums(copy, size);
    struct text whole = read_in_pieces(copy, size, size + 1);
    struct text bytes = read_in_pieces(copy, size, 1);
    struct text some = read_in_pieces(copy, size, 37);
    check(strcmp(whole.data, bytes.data) == 0 && strcmp(whole.data, some.data) == 0,
          "pieces make a difference");
    text_free(&whole);
    text_free(&bytes);
    text_free(&some);
    free(copy);
    return 0;
}
