/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PRA_MESSAGE_WRITE_V1_H
#define PRA_MESSAGE_WRITE_V1_H

#include "message/decoder.h"

/* A whole prometheus.WriteRequest. */
int pra__write_v1_decode(struct pra__decoder *d);

/* One prometheus.TimeSeries: the value of a field with this wire type. */
int pra__time_series_decode(struct pra__decoder *d, uint32_t wire);

/* One prometheus.Label likewise, into a column of labels. */
int pra__label_decode(struct pra__decoder *d, uint32_t wire, enum pra__column_id id);

/* After the last series: closes the offset columns. */
static inline int pra__time_series_finish(struct pra__decoder *d)
{
    return pra__columns_mark_series(d->cols);
}

#endif
