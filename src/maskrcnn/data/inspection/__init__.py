"""What a careful colleague looks at before training: classes, sizes, suspicious labels, images on both sides."""
