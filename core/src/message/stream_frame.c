/* SPDX-License-Identifier: Apache-2.0 */
#include "message/stream_frame.h"

#include <string.h>

#include <pra_proto/remote.pb.h>

#include "wire/frame.h"
#include "wire/tlv.h"

/* Before the fields of the series, until their length is known: the head of the frame, and key and
 * length of the series. */
enum { MOST_HEAD = PRA__FRAME_HEAD_MOST + 1 + 10, MOST_TAIL = 1 + 10 };

/* What Prometheus subtracts from the size of a frame: labels without their keys and lengths. */
static int64_t labels_size(const uint8_t *labels, size_t len)
{
    struct pra__reader r = {labels, len ? labels + len : labels, NULL};
    struct pra__field field;
    int64_t size = 0;
    while (r.pos < r.end) {
        const uint8_t *label;
        size_t label_len;
        if (pra__read_field(&r, &field) || pra__read_bytes(&r, field.wire, &label, &label_len))
            break;
        size += (int64_t)label_len;
    }
    return size;
}

void pra__stream_frames_begin(struct pra__stream_frames *f, pra_buffer *out, int64_t query_index,
                              uint64_t max_frame_bytes, const uint8_t *labels, size_t labels_len)
{
    int64_t most = max_frame_bytes < INT64_MAX ? (int64_t)max_frame_bytes : INT64_MAX;
    *f = (struct pra__stream_frames){.out = out,
                                     .labels = labels,
                                     .labels_len = labels_len,
                                     .query_index = query_index,
                                     .budget = most - labels_size(labels, labels_len)};
}

static int open_frame(struct pra__stream_frames *f)
{
    if (pra__buffer_reserve(f->out, MOST_HEAD + f->labels_len))
        return PRA_ERR_NOMEM;
    f->start = f->out->len;
    pra__put_bytes(f->out->data + f->start + MOST_HEAD, f->labels, f->labels_len);
    f->out->len += MOST_HEAD + f->labels_len;
    f->left = f->budget;
    f->open = 1;
    return PRA_OK;
}

/* Moves the series up to its head, now that the lengths are known. */
static void close_frame(struct pra__stream_frames *f)
{
    uint8_t *start = f->out->data + f->start;
    size_t series = f->out->len - f->start - MOST_HEAD;
    uint64_t index = (uint64_t)f->query_index;
    size_t payload = pra__bytes_field_size(prom_ChunkedReadResponse_chunked_series_tag, series) +
                     pra__varint_field_size(prom_ChunkedReadResponse_query_index_tag, index);
    uint8_t *body = start + pra__frame_head_size(payload);
    uint8_t key[1 + 10];
    uint8_t *end = pra__put_head(key, prom_ChunkedReadResponse_chunked_series_tag, series);
    size_t key_size = (size_t)(end - key);
    memmove(body + key_size, start + MOST_HEAD, series);
    memcpy(body, key, key_size);
    pra__put_varint_field(body + key_size + series, prom_ChunkedReadResponse_query_index_tag,
                          index);
    pra__frame_head(start, body, payload);
    f->out->len = (size_t)(body - f->out->data) + payload;
    f->open = 0;
}

int pra__stream_frames_chunk(struct pra__stream_frames *f, int32_t type, int64_t min_ms,
                             int64_t max_ms, const void *data, size_t len)
{
    const uint64_t encoding = pra__sign_extend(type);
    size_t size = pra__varint_field_size(prom_Chunk_min_time_ms_tag, (uint64_t)min_ms) +
                  pra__varint_field_size(prom_Chunk_max_time_ms_tag, (uint64_t)max_ms) +
                  pra__varint_field_size(prom_Chunk_type_tag, encoding) +
                  pra__string_field_size(prom_Chunk_data_tag, len);
    size_t total = pra__bytes_field_size(prom_ChunkedSeries_chunks_tag, size);
    size_t before = f->out->len;
    if (!f->open && open_frame(f))
        return PRA_ERR_NOMEM;
    if (pra__buffer_reserve(f->out, total + MOST_TAIL)) {
        if (f->out->len > before)
            f->open = 0;
        f->out->len = before;
        return PRA_ERR_NOMEM;
    }
    uint8_t *p = f->out->data + f->out->len;
    p = pra__put_head(p, prom_ChunkedSeries_chunks_tag, size);
    p = pra__put_varint_field(p, prom_Chunk_min_time_ms_tag, (uint64_t)min_ms);
    p = pra__put_varint_field(p, prom_Chunk_max_time_ms_tag, (uint64_t)max_ms);
    p = pra__put_varint_field(p, prom_Chunk_type_tag, encoding);
    p = pra__put_string_field(p, prom_Chunk_data_tag, data, len);
    f->out->len += total;
    f->left -= size < INT64_MAX ? (int64_t)size : INT64_MAX;
    if (f->left > 0)
        return PRA_OK;
    close_frame(f);
    return PRA_DONE;
}

void pra__stream_frames_end(struct pra__stream_frames *f)
{
    if (f->open)
        close_frame(f);
}
