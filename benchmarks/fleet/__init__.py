"""What the benchmarks of many targets share: the targets, and those who scrape them."""
