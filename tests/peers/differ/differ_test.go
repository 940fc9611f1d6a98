package differ

import (
	_ "github.com/klauspost/compress/snappy"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	_ "github.com/prometheus/prometheus/storage/remote"
	_ "github.com/prometheus/prometheus/tsdb/chunkenc"
	_ "github.com/stretchr/testify/require"
)
