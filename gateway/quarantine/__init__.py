"""What people do with held mail: look, release, delete, label."""
