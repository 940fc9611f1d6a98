/* SPDX-License-Identifier: Apache-2.0 */
#include "message/series_encode.h"

#include <pra_proto/remote.pb.h>
#include <pra_proto/write_v2.pb.h>

#include "message/histogram_encode.h"
#include "wire/tlv.h"

/* ---- samples; the numbers are the same in both versions */

/* Version 1.0 has no such field [W-44]. */
static uint64_t start_timestamp(const pra_series *s, size_t i, int version)
{
    return version == PRA_WRITE_V2 && s->start_timestamps_ms ? (uint64_t)s->start_timestamps_ms[i]
                                                             : 0;
}

static size_t sample_size(const double *value, int64_t timestamp_ms, uint64_t start_ms)
{
    return pra__double_field_size(prom2_Sample_value_tag, value) +
           pra__varint_field_size(prom2_Sample_timestamp_tag, (uint64_t)timestamp_ms) +
           pra__varint_field_size(prom2_Sample_start_timestamp_tag, start_ms);
}

size_t pra__samples_size(const pra_series *s, int version)
{
    size_t size = 0;
    for (size_t i = 0; i < s->sample_count; i++)
        size += pra__bytes_field_size(
            prom2_TimeSeries_samples_tag,
            sample_size(&s->values[i], s->timestamps_ms[i], start_timestamp(s, i, version)));
    return size;
}

uint8_t *pra__put_samples(uint8_t *p, const pra_series *s, int version)
{
    for (size_t i = 0; i < s->sample_count; i++) {
        const double *value = &s->values[i];
        const int64_t timestamp = s->timestamps_ms[i];
        const uint64_t start = start_timestamp(s, i, version);
        p = pra__put_head(p, prom2_TimeSeries_samples_tag, sample_size(value, timestamp, start));
        p = pra__put_double_field(p, prom2_Sample_value_tag, value);
        p = pra__put_varint_field(p, prom2_Sample_timestamp_tag, (uint64_t)timestamp);
        p = pra__put_varint_field(p, prom2_Sample_start_timestamp_tag, start);
    }
    return p;
}

/* ---- histograms */

static uint32_t histogram_number(int version)
{
    return version == PRA_WRITE_V2 ? prom2_TimeSeries_histograms_tag
                                   : prom_TimeSeries_histograms_tag;
}

size_t pra__histograms_size(const pra_columns *c, const pra_series *s, int version)
{
    size_t size = 0;
    for (size_t i = 0; i < s->histogram_count; i++)
        size += pra__bytes_field_size(histogram_number(version),
                                      pra__histogram_size(c, &s->histograms[i], version));
    return size;
}

uint8_t *pra__put_histograms(uint8_t *p, const pra_columns *c, const pra_series *s, int version)
{
    for (size_t i = 0; i < s->histogram_count; i++) {
        const pra_histogram *h = &s->histograms[i];
        p = pra__put_head(p, histogram_number(version), pra__histogram_size(c, h, version));
        p = pra__put_histogram(p, c, h, version);
    }
    return p;
}
