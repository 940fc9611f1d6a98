/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of a streamed answer. */
#include <inttypes.h>
#include <string.h>

#include <pra_proto/remote.pb.h>

#include "base/alloc.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/limits.h"
#include "message/chunk_decode.h"
#include "message/decoder.h"
#include "message/series_decode.h"
#include "message/write_v1.h"
#include "wire/crc32c.h"
#include "wire/frame.h"

struct pra_stream_reader {
    pra_alloc alloc;
    pra_limits limits;
    pra_buffer in; /* bytes from at on are not read yet, those before them may be in use by cols */
    size_t at;
    struct pra__columns cols; /* of the last frame */
    int64_t query_index;      /* -1: there is no frame */
    pra_error failure;        /* sticky */
};

int pra_stream_reader_new(const pra_alloc *alloc, const pra_limits *limits, pra_stream_reader **out)
{
    pra_limits l;
    if (!out)
        return PRA_ERR_INVALID_ARG;
    int rc = pra__limits_resolve(limits, &l);
    if (rc)
        return rc;
    pra_alloc a = pra__alloc_copy(alloc);
    pra_stream_reader *r = pra__calloc(&a, sizeof(*r));
    if (!r)
        return PRA_ERR_NOMEM;
    r->alloc = a;
    r->limits = l;
    r->limits.max_decoded_bytes = l.max_frame_read_bytes; /* what pra__decode goes by */
    r->query_index = -1;
    pra__buffer_init(&r->in, &a);
    pra__columns_init(&r->cols, &a);
    *out = r;
    return PRA_OK;
}

void pra_stream_reader_free(pra_stream_reader *reader)
{
    if (!reader)
        return;
    pra_alloc alloc = reader->alloc;
    pra__buffer_fini(&reader->in);
    pra__columns_fini(&reader->cols);
    pra__free(&alloc, reader, sizeof(*reader));
}

/* There is no frame any more. */
static void drop_frame(pra_stream_reader *r, size_t retain)
{
    pra__columns_reset(&r->cols, retain);
    r->query_index = -1;
}

void pra_stream_reader_reset(pra_stream_reader *reader)
{
    if (!reader)
        return;
    const uint64_t most = reader->limits.retain_bytes;
    size_t retain = most < SIZE_MAX ? (size_t)most : SIZE_MAX;
    drop_frame(reader, retain);
    pra__buffer_trim(&reader->in, retain);
    reader->at = 0;
    reader->failure = (pra_error){0};
}

int pra_stream_reader_feed(pra_stream_reader *reader, const void *data, size_t len)
{
    if (!reader || (!data && len))
        return PRA_ERR_INVALID_ARG;
    drop_frame(reader, SIZE_MAX);
    if (reader->at) {
        reader->in.len -= reader->at;
        memmove(reader->in.data, reader->in.data + reader->at, reader->in.len);
        reader->at = 0;
    }
    return pra_buffer_append(&reader->in, data, len);
}

/* ---- one frame */

struct chunk {
    int32_t type;
    const uint8_t *data;
    size_t len;
};

static int read_chunk_field(struct pra__decoder *d, struct chunk *chunk)
{
    struct pra__field field;
    int64_t time;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_Chunk_min_time_ms_tag:
    case prom_Chunk_max_time_ms_tag:
        return pra__read_i64(&d->in, field.wire, &time);
    case prom_Chunk_type_tag:
        return pra__read_i32(&d->in, field.wire, &chunk->type);
    case prom_Chunk_data_tag:
        return pra__read_bytes(&d->in, field.wire, &chunk->data, &chunk->len);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_chunk(struct pra__decoder *d, uint32_t wire)
{
    struct chunk chunk = {0, d->base, 0};
    const uint8_t *outer;
    const char *why = NULL;
    int rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_chunk_field(d, &chunk);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    rc = pra__chunk_decode(d->cols, chunk.type, chunk.data, chunk.len, &why);
    if (rc != PRA_ERR_PROTO && rc != PRA_ERR_NOT_SUPPORTED)
        return rc;
    pra__chunk_explain(rc, chunk.type, why, d->err);
    return PRA_ERR_NOT_SUPPORTED; /* err is filled, and its code is what the caller gets */
}

static int read_series_field(struct pra__decoder *d)
{
    struct pra__field field;
    int rc = pra__read_field(&d->in, &field);
    if (rc)
        return rc;
    switch (field.number) {
    case prom_ChunkedSeries_labels_tag:
        return pra__label_decode(d, field.wire, PRA__COL_LABELS);
    case prom_ChunkedSeries_chunks_tag:
        return read_chunk(d, field.wire);
    default:
        return pra__skip_field(&d->in, field.wire);
    }
}

static int read_series(struct pra__decoder *d, uint32_t wire)
{
    const uint8_t *start = d->in.pos;
    const uint8_t *outer;
    size_t labels = d->cols->col[PRA__COL_LABELS].len;
    int rc = pra__columns_mark_series(d->cols);
    if (rc == PRA_OK)
        rc = pra__enter(&d->in, wire, &outer);
    while (rc == PRA_OK && d->in.pos < d->in.end)
        rc = read_series_field(d);
    if (rc)
        return rc;
    pra__leave(&d->in, outer);
    d->cols->series++;
    return pra__check_label_count(d, start, d->cols->col[PRA__COL_LABELS].len - labels);
}

static pra_stream_reader *reader_of(struct pra__columns *cols)
{
    return (pra_stream_reader *)(void *)((char *)cols - offsetof(pra_stream_reader, cols));
}

static int read_response(struct pra__decoder *d)
{
    struct pra__field field;
    int64_t query = 0;
    int rc = PRA_OK;
    while (rc == PRA_OK && d->in.pos < d->in.end) {
        rc = pra__read_field(&d->in, &field);
        if (rc)
            break;
        if (field.number == prom_ChunkedReadResponse_chunked_series_tag)
            rc = read_series(d, field.wire);
        else if (field.number == prom_ChunkedReadResponse_query_index_tag)
            rc = pra__read_i64(&d->in, field.wire, &query);
        else
            rc = pra__skip_field(&d->in, field.wire);
    }
    if (rc)
        return rc;
    if (d->cols->series == 0)
        return pra_error_set_cstr(d->err, PRA_ERR_FRAME, "a frame without a series");
    reader_of(d->cols)->query_index = query;
    return pra__columns_mark_series(d->cols);
}

/* ---- the stream */

static int fail(pra_stream_reader *r, pra_error *err)
{
    drop_frame(r, SIZE_MAX);
    if (err)
        *err = r->failure;
    return r->failure.code;
}

/* Finds the payload of the next frame. */
static int find_payload(pra_stream_reader *r, struct pra__input *payload)
{
    const size_t left = r->in.len - r->at;
    size_t head;
    uint64_t size;
    uint32_t crc;
    int rc = pra__frame_read_head(r->in.data + r->at, left, &head, &size, &crc);
    if (rc == PRA_ERR_FRAME)
        return pra_error_set_cstr(&r->failure, rc, "the length of a frame is 0 or malformed");
    if (rc == PRA_DONE)
        return rc;
    if (size > r->limits.max_frame_read_bytes)
        return pra__error(&r->failure, PRA_ERR_FRAME, 0,
                          "a frame of %" PRIu64 " bytes is over max_frame_read_bytes (%" PRIu64 ")",
                          size, r->limits.max_frame_read_bytes);
    if (left - head < size)
        return PRA_DONE;
    *payload = (struct pra__input){.data = r->in.data + r->at + head, .len = (size_t)size};
    if (pra__crc32c(payload->data, payload->len) != crc)
        return pra_error_set_cstr(&r->failure, PRA_ERR_FRAME,
                                  "the checksum of a frame is not that of its bytes");
    return PRA_OK;
}

int pra_stream_reader_next(pra_stream_reader *reader, pra_error *err)
{
    struct pra__input payload = {0};
    if (!reader)
        return PRA_ERR_INVALID_ARG;
    if (reader->failure.code)
        return fail(reader, err);
    drop_frame(reader, SIZE_MAX);
    if (reader->at == reader->in.len)
        return PRA_DONE;
    int rc = find_payload(reader, &payload);
    if (rc == PRA_DONE)
        return rc;
    if (rc)
        return fail(reader, err);
    rc = pra__decode(&reader->cols, read_response, &payload, &reader->limits, &reader->failure);
    if (rc)
        rc = fail(reader, err);
    if (rc == PRA_ERR_NOMEM)
        reader->failure = (pra_error){0};
    if (rc)
        return rc;
    reader->at = (size_t)((const uint8_t *)payload.data - reader->in.data) + payload.len;
    return PRA_OK;
}

int pra_stream_reader_columns(const pra_stream_reader *reader, pra_columns *out)
{
    if (!reader || !out)
        return PRA_ERR_INVALID_ARG;
    return reader->cols.series ? pra__columns_view(&reader->cols, out) : PRA_ERR_STATE;
}

int64_t pra_stream_reader_query_index(const pra_stream_reader *reader)
{
    return reader ? reader->query_index : -1;
}

int pra_stream_reader_finish(const pra_stream_reader *reader, pra_error *err)
{
    if (!reader)
        return PRA_ERR_INVALID_ARG;
    if (reader->failure.code) {
        if (err)
            *err = reader->failure;
        return reader->failure.code;
    }
    if (reader->at == reader->in.len)
        return PRA_OK;
    return pra__error(err, PRA_ERR_FRAME, 0, "the answer ends inside a frame, behind %zu bytes",
                      reader->in.len - reader->at);
}
