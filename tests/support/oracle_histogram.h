/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_SUPPORT_ORACLE_HISTOGRAM_H
#define TESTS_SUPPORT_ORACLE_HISTOGRAM_H

#include <pb_decode.h>

#include "support/text.h"

/* One histogram with the fields of prom_Histogram or prom2_Histogram. */
bool oracle_histogram(pb_istream_t *stream, const pb_msgdesc_t *fields, struct text *out);

#endif
