"""What makes a model from labelled samples: networks on images and on points, trees."""
