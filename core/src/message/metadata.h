/* SPDX-License-Identifier: Apache-2.0 */
/* Metadata belongs to a family of series in remote write 1.0 and to a series in 2.0. */
#ifndef PRA_MESSAGE_METADATA_H
#define PRA_MESSAGE_METADATA_H

#include "message/strings.h"
#include "pra.h"

/* The value of __name__ of a series; empty if there is none. */
pra_span pra__metric_name(const pra_columns *c, size_t series);

/* The family that an entry which came with a series describes; empty if the series has no name. */
pra_span pra__family_of(const pra_columns *c, const pra_metadata *m);

/* The entry that describes series with this name, or NULL: strings holds the families, the metadata
 * of each being the index of its entry + 1. */
const pra_metadata *pra__metadata_of_name(const pra_columns *c, const struct pra__strings *strings,
                                          pra_span name);

#endif
