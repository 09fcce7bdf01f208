"""Values: requests, the images they upload, and what the API document allows. No effects, no clock."""
