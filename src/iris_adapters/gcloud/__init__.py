"""Google Cloud through the gcloud command-line tool."""
