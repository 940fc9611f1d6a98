/* SPDX-License-Identifier: Apache-2.0 */
/* What is written the same in series of PRA_WRITE_V1 and PRA_WRITE_V2: how many bytes the fields of
 * all samples or histograms take, and writing them. */
#ifndef PRA_MESSAGE_SERIES_ENCODE_H
#define PRA_MESSAGE_SERIES_ENCODE_H

#include "pra.h"

size_t pra__samples_size(const pra_series *s, int version);
uint8_t *pra__put_samples(uint8_t *p, const pra_series *s, int version);

size_t pra__histograms_size(const pra_columns *c, const pra_series *s, int version);
uint8_t *pra__put_histograms(uint8_t *p, const pra_columns *c, const pra_series *s, int version);

#endif
