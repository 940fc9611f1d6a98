/* SPDX-License-Identifier: Apache-2.0 */
#include <pra_proto/remote.pb.h>

#include "base/buffer.h"
#include "base/error.h"
#include "message/read_request.h"
#include "wire/tlv.h"

static size_t matcher_size(const struct pra_matcher *m)
{
    return pra__varint_field_size(prom_LabelMatcher_type_tag, pra__sign_extend(m->type)) +
           pra__string_field_size(prom_LabelMatcher_name_tag, m->name.len) +
           pra__string_field_size(prom_LabelMatcher_value_tag, m->value.len);
}

static uint8_t *put_matcher(uint8_t *p, const struct pra_matcher *m)
{
    p = pra__put_head(p, prom_Query_matchers_tag, matcher_size(m));
    p = pra__put_varint_field(p, prom_LabelMatcher_type_tag, pra__sign_extend(m->type));
    p = pra__put_string_field(p, prom_LabelMatcher_name_tag, m->name.ptr, m->name.len);
    return pra__put_string_field(p, prom_LabelMatcher_value_tag, m->value.ptr, m->value.len);
}

static size_t hints_size(const pra_read_hints *h)
{
    size_t size = pra__varint_field_size(prom_ReadHints_step_ms_tag, (uint64_t)h->step_ms) +
                  pra__string_field_size(prom_ReadHints_func_tag, h->func.len) +
                  pra__varint_field_size(prom_ReadHints_start_ms_tag, (uint64_t)h->start_ms) +
                  pra__varint_field_size(prom_ReadHints_end_ms_tag, (uint64_t)h->end_ms) +
                  pra__varint_field_size(prom_ReadHints_by_tag, h->by != 0) +
                  pra__varint_field_size(prom_ReadHints_range_ms_tag, (uint64_t)h->range_ms);
    for (size_t i = 0; i < h->grouping_count; i++)
        size += pra__bytes_field_size(prom_ReadHints_grouping_tag, h->grouping[i].len);
    return size;
}

static uint8_t *put_hints(uint8_t *p, const pra_read_hints *h)
{
    p = pra__put_head(p, prom_Query_hints_tag, hints_size(h));
    p = pra__put_varint_field(p, prom_ReadHints_step_ms_tag, (uint64_t)h->step_ms);
    p = pra__put_string_field(p, prom_ReadHints_func_tag, h->func.ptr, h->func.len);
    p = pra__put_varint_field(p, prom_ReadHints_start_ms_tag, (uint64_t)h->start_ms);
    p = pra__put_varint_field(p, prom_ReadHints_end_ms_tag, (uint64_t)h->end_ms);
    for (size_t i = 0; i < h->grouping_count; i++) {
        p = pra__put_head(p, prom_ReadHints_grouping_tag, h->grouping[i].len);
        p = pra__put_bytes(p, h->grouping[i].ptr, h->grouping[i].len);
    }
    p = pra__put_varint_field(p, prom_ReadHints_by_tag, h->by != 0);
    return pra__put_varint_field(p, prom_ReadHints_range_ms_tag, (uint64_t)h->range_ms);
}

static size_t query_size(const struct pra_query *q)
{
    size_t size = pra__varint_field_size(prom_Query_start_timestamp_ms_tag, (uint64_t)q->start_ms) +
                  pra__varint_field_size(prom_Query_end_timestamp_ms_tag, (uint64_t)q->end_ms);
    for (size_t i = 0; i < q->matcher_count; i++)
        size += pra__bytes_field_size(prom_Query_matchers_tag, matcher_size(&q->matchers[i]));
    if (q->hints.present)
        size += pra__bytes_field_size(prom_Query_hints_tag, hints_size(&q->hints));
    return size;
}

static int encode_query(const struct pra_query *q, pra_buffer *out)
{
    size_t size = query_size(q);
    int rc = pra__buffer_reserve(out, pra__bytes_field_size(prom_ReadRequest_queries_tag, size));
    if (rc)
        return rc;
    uint8_t *p = pra__put_head(out->data + out->len, prom_ReadRequest_queries_tag, size);
    p = pra__put_varint_field(p, prom_Query_start_timestamp_ms_tag, (uint64_t)q->start_ms);
    p = pra__put_varint_field(p, prom_Query_end_timestamp_ms_tag, (uint64_t)q->end_ms);
    for (size_t i = 0; i < q->matcher_count; i++)
        p = put_matcher(p, &q->matchers[i]);
    if (q->hints.present)
        p = put_hints(p, &q->hints);
    out->len = (size_t)(p - out->data);
    return PRA_OK;
}

static int encode_accepted(const pra_read_request *req, pra_buffer *out)
{
    const uint32_t number = prom_ReadRequest_accepted_response_types_tag;
    size_t size = 0;
    for (size_t i = 0; i < req->accepted_count; i++)
        size += pra__varint_size(pra__sign_extend(req->accepted[i]));
    int rc = pra__buffer_reserve(out, pra__bytes_field_size(number, size));
    if (rc)
        return rc;
    uint8_t *p = pra__put_head(out->data + out->len, number, size);
    for (size_t i = 0; i < req->accepted_count; i++)
        p = pra__put_varint(p, pra__sign_extend(req->accepted[i]));
    out->len = (size_t)(p - out->data);
    return PRA_OK;
}

int pra_read_request_encode(const pra_read_request *req, pra_buffer *out, pra_error *err)
{
    if (!req || !out)
        return pra_error_set_cstr(err, PRA_ERR_INVALID_ARG, "request or out is missing");
    const size_t before = out->len;
    int rc = PRA_OK;
    for (size_t i = 0; rc == PRA_OK && i < req->query_count; i++)
        rc = encode_query(req->queries[i], out);
    if (rc == PRA_OK && req->accepted_count)
        rc = encode_accepted(req, out);
    if (rc == PRA_OK)
        return PRA_OK;
    out->len = before;
    return pra__nomem(err);
}
