"""What demonstrations are made of: people who do not exist, and small models trained on them within minutes."""
