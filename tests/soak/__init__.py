"""Long runs; scripts/soak starts them. Not part of CI."""
